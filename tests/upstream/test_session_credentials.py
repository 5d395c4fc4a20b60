"""Logins that users hand over: for whom, for which repositories, for how long, and on which nodes."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec
import pytest

from doubles.registry import Registry
from wavelet.cluster.shared_directory.secrets import DirectorySecrets
from wavelet.config import Settings
from wavelet.errors import AccessRefused, InvalidRequest, NoSpace, OurError, WaitExpired
from wavelet.image.reference import Reference, Repository
from wavelet.plan.tokens import Identity, Login
from wavelet.upstream import credential_sources, session_credentials
from wavelet.upstream.client import Upstream
from wavelet.upstream.credentials import Logins
from wavelet.upstream.session_credentials import (
    LONGEST_LIFETIME,
    PER_USER,
    SEEN_FOR,
    STANDS,
    SessionCredentials,
    StoredLogin,
)

KEY = bytes(range(32))
NOW = 1_800_000_000.0
QUAY = Repository("quay.io", "org/team/tool")
ANN, BOB = 1001, 1002
LOGIN = Login("ann", "a-secret-of-ann")


class Cluster:
    """Nodes with a directory in common, and their clock."""

    def __init__(self, root: Path, stack: AsyncExitStack) -> None:
        self.root = root
        self.now = NOW
        self._stack = stack

    def __call__(self) -> float:
        return self.now

    def node(self) -> SessionCredentials:
        sealed = DirectorySecrets(self.root, KEY, self)
        self._stack.push_async_callback(sealed.close)
        return SessionCredentials(sealed, self)

    def alone(self) -> SessionCredentials:
        return SessionCredentials(None, self)


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with AsyncExitStack() as stack:
        yield Cluster(tmp_path / "shared", stack)


@pytest.fixture(params=["alone", "shared"])
def kept(request: pytest.FixtureRequest, cluster: Cluster) -> SessionCredentials:
    return cluster.alone() if request.param == "alone" else cluster.node()


async def test_the_longest_match_of_this_user(kept: SessionCredentials) -> None:
    for registry in ("quay.io", "https://quay.io/org", "quay.io/org/te", "https://index.docker.io/v1/"):
        await kept.store(ANN, registry, Login("ann", registry), 60)
    assert (await kept.find(QUAY, ANN)) == Login("ann", "https://quay.io/org")
    assert (await kept.find(Repository("quay.io", "other/x"), ANN)) == Login("ann", "quay.io")
    assert (await kept.find(Repository("docker.io", "library/busybox"), ANN)) is not None
    assert await kept.find(Repository("quay.io.evil", "org/x"), ANN) is None
    assert await kept.find(QUAY, BOB) is None
    assert await kept.stored(BOB) == []


async def test_each_ends_in_its_time(kept: SessionCredentials, cluster: Cluster) -> None:
    assert await kept.store(ANN, "quay.io", LOGIN, 100) == NOW + 100
    assert await kept.store(ANN, "quay.io", LOGIN, 10) == NOW + 100, "the same one again is not cut short"
    await kept.store(ANN, "gcr.io", LOGIN, 50)
    cluster.now += 50
    assert [each.registry for each in await kept.stored(ANN)] == ["quay.io"]
    assert await kept.store(ANN, "quay.io", Login("ann", "other"), 10) == NOW + 60
    cluster.now += 10
    assert await kept.find(QUAY, ANN) is None
    kept.expire()
    assert LOGIN.secret not in repr(vars(kept))


async def test_taken_back_one_or_all(kept: SessionCredentials) -> None:
    for registry in ("quay.io", "gcr.io", "ghcr.io/a"):
        await kept.store(ANN, registry, LOGIN, 60)
        await kept.store(BOB, registry, LOGIN, 60)
    assert [await kept.revoke(ANN, registry) for registry in ("https://gcr.io", "gcr.io", "", "")] == [1, 0, 2, 0]
    assert await kept.stored(ANN) == []
    assert len(await kept.stored(BOB)) == 3


async def test_the_version_follows(kept: SessionCredentials) -> None:
    seen = [await kept.version(Identity(uid=ANN))]
    assert seen == [""]
    await kept.store(ANN, "quay.io", LOGIN, 60)
    seen.append(await kept.version(Identity(uid=ANN)))
    await kept.store(ANN, "quay.io", Login("ann", "another"), 61)
    seen.append(await kept.version(Identity(uid=ANN)))
    assert len(set(seen)) == 3
    await kept.revoke(ANN, "quay.io")
    assert await kept.version(Identity(uid=ANN)) == ""


@pytest.mark.parametrize(
    ("field", "registry", "login", "lifetime"),
    [
        ("registry", "", LOGIN, 60),
        ("registry", "quay.io/UPPER", LOGIN, 60),
        ("registry", "user:pw@quay.io", LOGIN, 60),
        ("username", "quay.io", Login("a:b", "s"), 60),
        ("username", "quay.io", Login("a" * 2000, "s"), 60),
        ("secret", "quay.io", Login("ann", ""), 60),
        ("secret", "quay.io", Login("ann", "my-secret\r\nX: y"), 60),
        ("lifetime", "quay.io", LOGIN, 0),
        ("lifetime", "quay.io", LOGIN, LONGEST_LIFETIME + 1),
        ("lifetime", "quay.io", LOGIN, float("nan")),
    ],
)
async def test_what_is_not_taken(field: str, registry: str, login: Login, lifetime: float, cluster: Cluster) -> None:
    with pytest.raises(InvalidRequest) as caught:
        await cluster.alone().store(ANN, registry, login, lifetime)
    assert caught.value.field == field
    assert "my-secret" not in caught.value.message


async def test_bounded_for_a_user_and_for_all(
    kept: SessionCredentials, monkeypatch: pytest.MonkeyPatch, cluster: Cluster
) -> None:
    for number in range(PER_USER):
        await kept.store(ANN, f"quay.io/{number}", LOGIN, 60)
    with pytest.raises(InvalidRequest, match="logout"):
        await kept.store(ANN, "quay.io", LOGIN, 60)
    await kept.store(ANN, "quay.io/1", LOGIN, 70)
    monkeypatch.setattr(session_credentials, "USERS", 3)
    alone = cluster.alone()
    for uid in range(3):
        await alone.store(uid, "quay.io", LOGIN, 60)
    with pytest.raises(NoSpace):
        await alone.store(3, "quay.io", LOGIN, 60)
    cluster.now += 60
    await alone.store(3, "quay.io", LOGIN, 60)


async def test_users_that_can_be_read_again_make_room(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_credentials, "USERS", 2)
    one, two = cluster.node(), cluster.node()
    for uid in range(5):
        await one.store(uid, "quay.io", LOGIN, 60)
    for uid in range(5):
        assert await two.find(QUAY, uid) == LOGIN
    assert len(two._users) == 2


async def test_another_node_has_it_and_follows(cluster: Cluster) -> None:
    one, two = cluster.node(), cluster.node()
    assert await two.find(QUAY, ANN) is None
    await one.store(ANN, "quay.io", LOGIN, 3600)
    assert await two.find(QUAY, ANN) is None
    cluster.now += SEEN_FOR
    assert await two.find(QUAY, ANN) == LOGIN
    assert await two.stored(ANN) == [StoredLogin("quay.io", "ann", NOW + 3600, True)]
    assert await two.find(QUAY, BOB) is None
    assert await two.revoke(ANN, "") == 1
    cluster.now += SEEN_FOR
    assert await one.find(QUAY, ANN) is None


async def test_one_look_for_all_who_wait(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    await cluster.node().store(ANN, "quay.io", LOGIN, 3600)
    node, looks = cluster.node(), []
    of = DirectorySecrets._of
    monkeypatch.setattr(DirectorySecrets, "_of", lambda self, uid: looks.append(uid) or of(self, uid))
    assert await asyncio.gather(*(node.find(QUAY, ANN) for _ in range(20))) == [LOGIN] * 20
    assert looks == [ANN]


async def test_a_directory_that_does_not_answer(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    node = cluster.node()
    await node.store(ANN, "quay.io", LOGIN, 86400)

    async def fail(*_: object, **__: object) -> None:
        raise WaitExpired("the shared directory has not answered")

    monkeypatch.setattr("wavelet.cluster.shared_directory.secrets.DirectoryIo.run", fail)
    cluster.now += SEEN_FOR
    assert await node.find(QUAY, ANN) == LOGIN, "what was read last stands"
    await node.store(BOB, "quay.io", LOGIN, 60)
    assert [each.shared for each in await node.stored(BOB)] == [False]
    for registry in ("quay.io", ""):
        with pytest.raises(OurError, match="other nodes may still use it"):
            await node.revoke(BOB, registry)
    assert await node.stored(BOB) == []
    cluster.now += STANDS
    assert await node.find(QUAY, ANN) is None


# -- what a registry is shown -----------------------------------------------------------------------------------------


@pytest.fixture
async def logins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Logins:
    monkeypatch.setattr(credential_sources, "paths_of", lambda uid: [str(tmp_path / "auth.json")])
    return Logins(msgspec.convert({}, Settings))


@pytest.fixture
async def upstream(logins: Logins) -> AsyncIterator[Upstream]:
    async with Upstream(msgspec.convert({}, Settings), logins) as made:
        yield made


@pytest.mark.parametrize("scheme", ["bearer", "basic"])
async def test_for_its_user_alone(
    registry: Registry, upstream: Upstream, logins: Logins, tool: Reference, scheme: str
) -> None:
    registry.require_login(scheme, {"alice": ("wonder", ["lab/*"])})
    ann, bob = Identity(uid=ANN), Identity(uid=BOB)
    with pytest.raises(AccessRefused, match=f"`wavelet login {registry.host}`"):
        await upstream.head(tool, ann)
    before = await logins.version(ann)
    await logins.store(ANN, registry.host, Login("alice", "wonder"), 60)
    assert await logins.version(ann) != before, "a new login is a new question"
    assert not (await upstream.head(tool, ann)).granted.public
    assert await logins.knows(tool.repository, ann)
    with pytest.raises(AccessRefused, match="wavelet login"):
        await upstream.head(tool, bob)
    await logins.revoke(ANN, registry.host)
    with pytest.raises(AccessRefused):
        await upstream.head(tool, ann)


async def test_an_identity_token(registry: Registry, upstream: Upstream, logins: Logins, tool: Reference) -> None:
    doors = registry.require_login("bearer", {"alice": ("wonder", ["lab/*"])})
    doors.refresh_tokens["r-token"] = "alice"
    await logins.store(ANN, registry.host, Login("", "r-token"), 60)
    assert not (await upstream.head(tool, Identity(uid=ANN))).granted.public


async def test_before_the_auth_files(logins: Logins, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    me = Identity(uid=os.geteuid())
    auths = {"quay.io": {"username": "file", "password": "f"}}
    (tmp_path / "auth.json").write_text(json.dumps({"auths": auths}))
    assert me.uid is not None
    await logins.store(me.uid, "quay.io", LOGIN, 60)
    assert await logins.own(QUAY, me) == [LOGIN, Login("file", "f")]
    sent = Identity(uid=me.uid, login=Login("sent", "s"), login_key="k")
    assert await logins.own(QUAY, sent) == [Login("sent", "s")]


async def test_the_audit_is_told(logins: Logins) -> None:
    told: list[tuple[object, ...]] = []
    logins.on_event = lambda *what: told.append(what)
    await logins.store(ANN, "https://quay.io/v2/", LOGIN)
    await logins.revoke(ANN, "")
    assert told == [("login", ANN, "quay.io"), ("logout", ANN, "")]
    logins.expire()
    assert await logins.stored(ANN) == []


def test_nothing_shows_the_secret() -> None:
    held = StoredLogin("quay.io", "ann", NOW, True)
    assert "secret" not in f"{LOGIN!r} {held!r} {session_credentials.ExpiringLogin(LOGIN, NOW)!r}"
