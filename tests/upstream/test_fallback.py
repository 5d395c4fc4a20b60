"""Who is let in with what: the order of logins, tokens, and that no login reaches whom it is not for."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import os
import time
from pathlib import Path

import pytest

from doubles.registry import Registry
from wavelet.errors import AccessRefused, ImageNotFound, InvalidRequest, UpstreamBroken, UpstreamBusy
from wavelet.image.reference import Digest, Reference, Repository
from wavelet.plan.tokens import NOBODY, Identity, Login
from wavelet.upstream.client import Upstream

ALICE = Identity(uid=4711, login=Login("alice", "wonder"), login_key="k")
USERS = {"alice": ("wonder", ["lab/*"]), "site": ("builder", ["lab/*"])}


@pytest.fixture
def site(tmp_path: Path, registry: Registry):
    """Return a function that makes a site credential for the double."""

    def make(registry_key: str = "", password: str = "builder", **members: object) -> dict[str, object]:
        file = tmp_path / f"password-{password}"
        file.write_text(password + "\n")
        key = registry_key or registry.host
        return {"registry": key, "username": "site", "password_file": str(file), **members}

    return make


def sent(registry: Registry, pattern: str = "^/v2/.") -> list[str]:
    return [seen.headers.get("Authorization", "-").partition(" ")[0] for seen in registry.seen(None, pattern)]


@pytest.mark.parametrize("scheme", ["bearer", "basic"])
async def test_public_is_found_without_any_login(registry: Registry, client, tool: Reference, site, scheme) -> None:
    registry.require_login(scheme, USERS, public=["lab/*"])
    upstream = await client(credentials=[site()])
    found = await upstream.head(tool, ALICE)
    assert (found.granted.public, found.granted.by) == (True, "anonymous")
    assert not any("Basic" in seen.headers.get("Authorization", "") for seen in registry.requests)


@pytest.mark.parametrize("scheme", ["bearer", "basic"])
async def test_own_login_is_ones_own(registry: Registry, upstream: Upstream, tool: Reference, scheme: str) -> None:
    registry.require_login(scheme, USERS)
    found = await upstream.head(tool, ALICE)
    assert not found.granted.public
    assert "wonder" not in found.granted.by
    with pytest.raises(AccessRefused, match="docker login") as caught:
        await upstream.head(tool, NOBODY)
    assert not caught.value.declined


@pytest.mark.parametrize(
    "challenge",
    [
        'Negotiate, Basic realm="r"',
        'Bearer, Basic realm="r"',
        "NTLM,basic",
        'Bearer realm="http://login.invalid/token", Basic realm="r"',  # a server that is not asked for this registry
    ],
)
async def test_a_login_is_shown_to_one_of_several_challenges(
    registry: Registry, client, tool: Reference, site, monkeypatch: pytest.MonkeyPatch, challenge: str
) -> None:
    """Fault B10: a registry behind a server that would rather have Kerberos."""
    doors = registry.require_login("basic", USERS)
    refusal = doors.refusal
    monkeypatch.setattr(
        doors, "refusal", lambda *asked: seen and (seen[0], {"WWW-Authenticate": challenge})
        if (seen := refusal(*asked)) is None or seen[0] == 401 else seen,
    )  # fmt: skip
    upstream = await client(credentials=[site()])
    assert (await upstream.head(tool, NOBODY)).granted.by.startswith("site login")


@pytest.mark.process
async def test_what_could_not_be_used_is_in_the_refusal(
    registry: Registry, client, tool: Reference, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Faults C1 and C3: an auth file, a helper that prints a line first, and a password file of the site."""
    registry.require_login("bearer", USERS)
    program = tmp_path / "docker-credential-chatty"
    program.write_text('#!/bin/sh\necho log: my-secret\necho \'{"Username":"a","Secret":"b"}\'\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    (tmp_path / "good").write_text(json.dumps({"credHelpers": {registry.host: "chatty"}}))
    (tmp_path / "bad").write_text("{my-secret")
    files = [str(tmp_path / name) for name in ("good", "bad", "none")]
    monkeypatch.setattr("wavelet.upstream.credential_sources.paths_of", lambda uid: files)
    site = {"registry": registry.host, "username": "x", "password_file": str(tmp_path / "gone")}
    upstream = await client(credentials=[site])
    with pytest.raises(AccessRefused) as caught:
        await upstream.head(tool, Identity(uid=os.geteuid()))
    for words in (
        "asked as: anonymous", "could not be used", f"{tmp_path}/bad: it is not an auth file",
        "docker-credential-chatty answers something that is not a login",
        f"the site's password_file for {registry.host}: No such file",
    ):  # fmt: skip
        assert words in caught.value.message
    assert "my-secret" not in caught.value.message
    with pytest.raises(AccessRefused) as other:
        await upstream.head(tool, NOBODY)
    assert "bad" not in other.value.message and "chatty" not in other.value.message


async def test_site_login_for_all_goes_before_ones_own(registry: Registry, client, tool: Reference, site) -> None:
    registry.require_login("bearer", USERS)
    upstream = await client(credentials=[site()])
    for identity in (ALICE, NOBODY):
        granted = (await upstream.head(tool, identity)).granted
        assert (granted.public, granted.by) == (True, f"site login for {registry.host}")


async def test_site_login_for_listed_users_goes_last(registry: Registry, client, tool: Reference, site) -> None:
    registry.require_login("bearer", USERS)
    upstream = await client(credentials=[site(users=[1000])])
    granted = (await upstream.head(tool, Identity(uid=1000))).granted
    assert (granted.public, granted.by) == (False, f"site login for {registry.host}, for uid 1000")
    assert "client's own" in (await upstream.head(tool, ALICE)).granted.by
    for identity in (Identity(uid=1001), NOBODY):
        with pytest.raises(AccessRefused):
            await upstream.head(tool, identity)


async def test_wrong_site_login_leaves_the_own_one(registry: Registry, client, tool: Reference, site) -> None:
    registry.require_login("bearer", USERS)
    upstream = await client(credentials=[site(password="wrong")])
    assert not (await upstream.head(tool, ALICE)).granted.public


async def test_403_passes_on_and_is_told_apart(registry: Registry, upstream: Upstream, tool: Reference) -> None:
    registry.fault("/manifests/", status=403)
    with pytest.raises(AccessRefused) as caught:
        await upstream.head(tool, NOBODY)
    assert caught.value.declined


async def test_404_with_a_login_is_definite(registry: Registry, upstream: Upstream, tool: Reference) -> None:
    registry.require_login("bearer", USERS)
    with pytest.raises(ImageNotFound):
        await upstream.head(Reference(tool.repository, "none"), ALICE)


async def test_busy_passes_on_only_to_logins_for_all(registry: Registry, client, tool: Reference, site) -> None:
    registry.require_login("bearer", USERS, public=["lab/*"])
    registry.fault("/manifests/", status=429, headers={"Retry-After": "999"}, times=1)
    upstream = await client(credentials=[site()])
    assert (await upstream.head(tool, NOBODY)).granted.by.startswith("site login")
    registry.fault("/manifests/", status=429, headers={"Retry-After": "999"}, times=1)
    with pytest.raises(UpstreamBusy):
        await (await client()).head(tool, ALICE)


@pytest.mark.parametrize("scheme", ["bearer", "basic"])
async def test_always_never_asks_without_login(registry: Registry, client, tool: Reference, site, scheme: str) -> None:
    registry.require_login(scheme, USERS, public=["lab/*"])
    upstream = await client(credentials=[site()], registries={registry.host: {"credentials": "always"}})
    granted = (await upstream.head(tool, NOBODY)).granted
    await upstream.manifest(tool, NOBODY)
    assert granted.by.startswith("site login")
    assert set(sent(registry)) == {scheme.title()}


async def test_always_without_a_challenge(registry: Registry, client, tool: Reference, site) -> None:
    upstream = await client(credentials=[site()], registries={registry.host: {"credentials": "always"}})
    await upstream.head(tool, NOBODY)
    assert sent(registry) == ["Basic"]


async def test_always_without_any_login_is_anonymous(registry: Registry, client, tool: Reference) -> None:
    upstream = await client(registries={registry.host: {"credentials": "always"}})
    assert (await upstream.head(tool, NOBODY)).granted.by == "anonymous"


async def test_tokens_are_kept_and_renewed(registry: Registry, upstream: Upstream, tool: Reference) -> None:
    doors = registry.require_login("bearer", USERS, public=["lab/*"])
    for _ in range(3):
        await upstream.head(tool, NOBODY)
    assert doors.issued == 1
    doors.expire()
    await upstream.head(tool, NOBODY)
    assert doors.issued == 2


async def test_a_token_with_an_encoding_that_was_not_asked_for(
    registry: Registry, upstream: Upstream, tool: Reference
) -> None:
    """Fault B7: it is undone, within the bounds of a token's answer."""
    doors = registry.require_login("bearer", USERS)
    doors.tokens["t"] = ("alice", time.monotonic() + 60)
    encoded = {"Content-Encoding": "gzip"}
    registry.fault("/token", status=200, body=gzip.compress(b'{"token": "t"}'), headers=encoded)
    assert (await upstream.head(tool, NOBODY)).size
    registry.fault("/token", status=200, body=gzip.compress(b" " * 10_000_000 + b'{"token": "t"}'), headers=encoded)
    doors.expire()
    with pytest.raises(UpstreamBroken, match="too many for its kind"):
        await upstream.head(tool, NOBODY)


async def test_short_tokens_end_in_time(registry: Registry, upstream: Upstream, tool: Reference) -> None:
    doors = registry.require_login("bearer", USERS, public=["lab/*"], lifetime=0.4)
    await upstream.head(tool, NOBODY)
    doors.lifetime = 300
    await asyncio.sleep(0.25)
    await upstream.head(tool, NOBODY)
    assert doors.issued == 2


async def test_revoked_user_is_refused(registry: Registry, upstream: Upstream, tool: Reference) -> None:
    doors = registry.require_login("bearer", USERS)
    await upstream.head(tool, ALICE)
    doors.revoke("alice")
    with pytest.raises(AccessRefused):
        await upstream.head(tool, ALICE)


async def test_identity_token_is_posted(registry: Registry, upstream: Upstream, tool: Reference) -> None:
    doors = registry.require_login("bearer", USERS)
    doors.refresh_tokens["long-lived"] = "alice"
    identity = Identity(uid=1, login=Login("", "long-lived"), login_key="k")
    await upstream.head(tool, identity)
    posted = registry.seen("POST", "/token")
    assert len(posted) == 1 and not posted[0].query


async def test_scope_is_for_pulling_this_repository(registry: Registry, upstream: Upstream, tool: Reference) -> None:
    registry.require_login("bearer", USERS, public=["lab/*"])
    await upstream.head(tool, NOBODY)
    assert registry.seen("GET", "/token")[0].query == {"service": "double", "scope": "repository:lab/tool:pull"}


@pytest.mark.parametrize("identity", [NOBODY, ALICE])
async def test_realm_elsewhere_is_not_asked(
    registry: Registry, second: Registry, upstream: Upstream, tool: Reference, identity: Identity
) -> None:
    for realm in (f"{second.url}/token", "http://169.254.169.254/latest", "https://10.0.0.1/token", "gopher://x", ""):
        registry.require_login("bearer", USERS, realm=realm)
        if registry.doors is not None:
            registry.doors.realm = realm
        with pytest.raises(UpstreamBroken, match="sends for tokens"):
            await upstream.head(tool, identity)
    assert second.requests == []


async def test_token_server_that_redirects_elsewhere(
    registry: Registry, second: Registry, upstream: Upstream, tool: Reference
) -> None:
    registry.require_login("bearer", USERS)
    registry.fault("/token", redirect=f"{second.url}/token")
    with pytest.raises(UpstreamBroken, match="another host"):
        await upstream.head(tool, ALICE)
    assert second.requests == []


@pytest.mark.parametrize("body", [b"", b"{}", b'{"token":5}', b'{"token":"a\\r\\nX: y"}', b"x" * 70_000])
async def test_token_that_is_none(registry: Registry, upstream: Upstream, tool: Reference, body: bytes) -> None:
    registry.require_login("bearer", USERS)
    registry.fault("/token", status=200, body=body)
    with pytest.raises(UpstreamBroken):
        await upstream.head(tool, NOBODY)


async def test_null_in_a_token_answer_is_absent(registry: Registry, upstream: Upstream, tool: Reference) -> None:
    """Fault B9: null means absent in the JSON of others."""
    doors = registry.require_login("bearer", USERS, public=["lab/*"])
    doors.with_nulls = True
    assert (await upstream.head(tool, NOBODY)).granted.public


async def test_busy_token_server_is_asked_again(registry: Registry, upstream: Upstream, tool: Reference) -> None:
    registry.require_login("bearer", USERS, public=["lab/*"])
    registry.fault("/token", status=503, times=2)
    assert (await upstream.head(tool, NOBODY)).size


@pytest.mark.parametrize("scheme", ["bearer", "basic"])
async def test_redirect_drops_the_login_at_another_host(
    registry: Registry, second: Registry, upstream: Upstream, scheme: str
) -> None:
    data = b"z" * 1000
    digest = Digest(registry.add_blob("lab/x", data))
    second.add_blob("lab/x", data)
    registry.require_login(scheme, USERS)
    registry.fault("/blobs/", skip=1, redirect=f"{second.url}/v2/lab/x/blobs/{digest}")
    repository = Repository(registry.host, "lab/x")
    async with upstream.blob(repository, digest, ALICE, offset=10) as stream:
        assert b"".join([chunk async for chunk in stream.chunks]) == data[10:]
    assert sent(second) == ["-"]
    assert second.requests[0].headers["Range"] == "bytes=10-"


async def test_mirror_gets_no_login_but_its_own(
    registry: Registry, second: Registry, client, tool: Reference, site
) -> None:
    second.add_image("lab/tool", "1")
    for double in (registry, second):
        double.require_login("basic", USERS)
    mirrored = {registry.host: {"mirrors": [second.url]}}
    upstream = await client(credentials=[site()], registries=mirrored)
    assert (await upstream.manifest(tool, ALICE)).granted.by == f"site login for {registry.host}"
    assert set(sent(second)) == {"-"}
    upstream = await client(credentials=[site(second.host)], registries=mirrored)
    assert (await upstream.manifest(tool, ALICE)).granted.by == f"site login for {second.host}"


async def test_refused_anonymous_is_remembered_for_a_while(
    registry: Registry, upstream: Upstream, tool: Reference, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wavelet.upstream.fallback.REFUSAL_MEMORY", 60)
    registry.require_login("basic", USERS)
    for _ in range(3):
        await upstream.head(tool, ALICE)
    assert sent(registry, "/manifests/").count("-") == 2, "by HEAD and, for a HEAD may be refused alone, by GET"
    with pytest.raises(AccessRefused):
        await upstream.head(tool, NOBODY)


async def test_check_login(registry: Registry, upstream: Upstream) -> None:
    for scheme in ("bearer", "basic"):
        registry.require_login(scheme, USERS)
        assert await upstream.check_login(registry.host, Login("alice", "wonder"))
        assert not await upstream.check_login(registry.host, Login("alice", "wrong"))
    with pytest.raises(InvalidRequest):
        await upstream.check_login("https://x/y", Login("a", "b"))


async def test_check_login_keeps_to_the_address_policy(registry: Registry, client) -> None:
    upstream = await client(private_networks="never")
    for host in (registry.host, "169.254.169.254", "localhost:1"):
        with pytest.raises(InvalidRequest, match="is not asked"):
            await upstream.check_login(host, Login("alice", "wonder"))
    assert registry.requests == []


async def test_secrets_stay_out_of_errors_and_logs(
    registry: Registry, upstream: Upstream, tool: Reference, capsys: pytest.CaptureFixture[str]
) -> None:
    registry.require_login("basic", {})
    with pytest.raises(AccessRefused) as caught:
        await upstream.head(tool, ALICE)
    shown = caught.value.message + capsys.readouterr().out
    assert "wonder" not in shown
    assert base64.b64encode(b"alice:wonder").decode() not in shown


async def test_own_files_of_the_daemons_user(
    registry: Registry, upstream: Upstream, tool: Reference, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "config.json"
    auth = base64.b64encode(b"alice:wonder").decode()
    file.write_text(f'{{"auths":{{"{registry.host}":{{"auth":"{auth}"}}}}}}')
    monkeypatch.setattr("wavelet.upstream.credential_sources.paths_of", lambda uid: [str(file)])
    registry.require_login("bearer", USERS)
    granted = (await upstream.head(tool, Identity(uid=os.geteuid()))).granted
    assert (granted.public, granted.by) == (False, f"login of uid {os.geteuid()}")
