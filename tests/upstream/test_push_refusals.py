"""Pushes that are refused: whose login was used, which right is missing, and what else registries may say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from yarl import URL

from doubles.registry import Registry
from lab.push_sources import Pushed
from wavelet.errors import (
    AccessRefused,
    InvalidName,
    NotFound,
    TooLarge,
    UpstreamBroken,
    UpstreamBusy,
    UpstreamError,
    UpstreamUnreachable,
    WaveletError,
)
from wavelet.image.image import OCI_MANIFEST
from wavelet.image.reference import Digest, Repository
from wavelet.plan.tokens import NOBODY, Identity, Login
from wavelet.upstream import push_answers, push_uploads, retry
from wavelet.upstream.client import Upstream
from wavelet.upstream.push_answers import Refusal, error_of, least_chunk, next_location, received, with_digest
from wavelet.upstream.push_plan import CHUNK_SIZE, LEAST_CHUNK_SIZE, WHOLE_LIMIT, Cut

ALICE = Identity(uid=1, login=Login("alice", "wonder"), login_key="a")
BOB = Identity(uid=2, login=Login("bob", "builder"), login_key="b")
USERS = {"alice": ("wonder", ["*"]), "bob": ("builder", ["*"])}
BLOB = Pushed(b"layer" * 1000)


@pytest.fixture
def repository(registry: Registry) -> Repository:
    return Repository(registry.host, "lab/tool")


@pytest.fixture(params=["basic", "bearer"])
def doors(registry: Registry, request: pytest.FixtureRequest) -> Any:
    """A registry that bob may read, and not push to."""
    made = registry.require_login(request.param, USERS)
    made.read_only.add("bob")
    return made


def error(status: int, code: str = "", message: str = "", detail: Any = None) -> dict[str, Any]:
    body = {"errors": [{"code": code, "message": message or code.replace("_", " ").lower(), "detail": detail}]}
    return {"status": status, "body": json.dumps(body).encode()}


async def push(upstream: Upstream, repository: Repository, identity: Identity = ALICE) -> bool:
    return await upstream.pusher.push_blob(repository, BLOB.source, identity)


async def test_a_login_without_the_right(doors: Any, upstream: Upstream, repository: Repository) -> None:
    words = (
        rf"refuses a push to {repository} \(asked as: the client's own login\)(?: \(unauthorized\))?\. It takes a login"
        rf" with the right to push to {repository}: log in with `docker login {repository.host}`"
    )
    with pytest.raises(AccessRefused, match=words):
        await push(upstream, repository, BOB)
    with pytest.raises(AccessRefused, match=words):
        await upstream.pusher.push_manifest(repository, "1", b"{}", OCI_MANIFEST, BOB)
    assert await upstream.pusher.has_manifest(repository, "1", BOB) is None
    assert await push(upstream, repository, ALICE)
    assert not await push(upstream, repository, BOB), "what is there already takes no right to push"


async def test_no_login(doors: Any, upstream: Upstream, repository: Repository) -> None:
    with pytest.raises(AccessRefused, match=r"\(asked as: anonymous\)"):
        await push(upstream, repository, NOBODY)
    with pytest.raises(AccessRefused, match=r"\(asked as: anonymous\).*`wavelet login"):
        await upstream.pusher.has_manifest(repository, "1", Identity(uid=7))


async def test_the_callers_login_goes_before_the_sites(
    registry: Registry, client: Any, repository: Repository, tmp_path: Path
) -> None:
    doors = registry.require_login("basic", USERS)
    password = tmp_path / "password"
    password.write_text("wonder")
    site = {"registry": registry.host, "username": "alice", "password_file": str(password), "push": True}
    upstream = await client(credentials=[site])

    def users() -> list[str | None]:
        shown = [seen.headers.get("Authorization", " ").partition(" ")[2] for seen in registry.seen("POST")]
        return [doors.user_of(each) for each in shown]

    assert await push(upstream, repository, BOB)
    assert users() == ["bob"]
    registry.remove("lab/tool", BLOB.digest)
    registry.requests.clear()
    doors.read_only.add("bob")
    assert await push(upstream, repository, BOB)
    assert users() == ["bob", "alice"]
    doors.read_only.add("alice")
    registry.remove("lab/tool", BLOB.digest)
    with pytest.raises(AccessRefused, match=f"asked as: the client's own login, site login for {registry.host}"):
        await push(upstream, repository, BOB)


async def test_a_login_that_may_push_is_asked_first_from_then_on(
    registry: Registry, client: Any, repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wavelet.upstream.fallback.REFUSAL_MEMORY", 60.0)
    doors = registry.require_login("basic", USERS)
    doors.read_only.add("bob")
    password = tmp_path / "password"
    password.write_text("wonder")
    site = {"registry": registry.host, "username": "alice", "password_file": str(password), "push": True}
    upstream = await client(credentials=[site])
    for number in range(3):
        pushed = Pushed(b"%d" % number)
        assert await upstream.pusher.push_blob(repository, pushed.source, BOB)
    assert registry.count("POST") == 1 + 3


async def test_a_login_that_is_taken_away_in_the_middle(
    registry: Registry, upstream: Upstream, repository: Repository
) -> None:
    registry.require_login("basic")
    registry.fault("/uploads/.+", method="PUT", **error(403, "DENIED", "quota of the project"))
    with pytest.raises(AccessRefused, match=r"refuses blob sha256:.*client's own login\) \(quota of the project\)"):
        await push(upstream, repository)


BEGINNING = [
    (error(404, "NAME_INVALID"), InvalidName, "does not accept the repository name lab/tool"),
    (error(404, "NAME_UNKNOWN"), NotFound, "has no repository lab/tool .*; make it there first"),
    (error(404), NotFound, "has no repository lab/tool"),
    ({"status": 201}, UpstreamBroken, "it answers 201"),
    ({"status": 202}, UpstreamBroken, "without a Location"),
]
ANYWHERE = [
    (error(400, "NAME_INVALID"), InvalidName, "does not accept the repository name lab/tool"),
    (error(405, "UNSUPPORTED"), UpstreamBroken, "takes no pushes: it answers 405"),
    (error(413), TooLarge, "does not take blob sha256"),
    (error(507), UpstreamError, "has no room left: it answers 507.*; make room there"),
    (error(500, "UNKNOWN", "no space left on device"), UpstreamError, "has no room left: it answers 500"),
    (error(500, "UNKNOWN", "x", {"Enclosed": {"Op": "write", "Err": 28}}), UpstreamError, "has no room left"),
    (error(500, "UNKNOWN"), UpstreamBusy, r"answers 500, not now \(unknown\)"),
    (error(429, "TOOMANYREQUESTS"), UpstreamBusy, "answers 429, not now"),
    (error(418), UpstreamBroken, "does not take blob .* it answers 418"),
]


@pytest.mark.parametrize(
    ("where", "answer", "kind", "words"),
    [("POST", *case) for case in BEGINNING] + [(where, *case) for case in ANYWHERE for where in ("POST", "PUT")],
)
async def test_what_registries_answer(
    registry: Registry,
    upstream: Upstream,
    repository: Repository,
    where: str,
    answer: dict[str, Any],
    kind: type[WaveletError],
    words: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(push_uploads, "UPLOADS", retry.RetryPolicy(2, 0.01, 1.0))
    registry.fault("/uploads/", method=where, reads=0, **answer)
    with pytest.raises(kind, match=words) as raised:
        await push(upstream, repository)
    assert raised.value.message.count("\n") == 0
    full = "no room" in raised.value.message
    assert not (full and raised.value.passing)
    assert registry.uploads.begun == {} or where == "POST"


async def test_nobody_there(registry: Registry, upstream: Upstream, repository: Repository) -> None:
    await registry.stop()
    with pytest.raises(UpstreamUnreachable, match="connection refused"):
        await push(upstream, repository)


def test_where_an_upload_goes_on() -> None:
    base = URL("https://reg.example:5000")
    asked = URL("https://reg.example:5000/v2/a/blobs/uploads/")
    for location, expected in (
        ("/v2/x?_state=a%2Bb%3D&y", "https://reg.example:5000/v2/x?_state=a%2Bb%3D&y"),
        ("x", "https://reg.example:5000/v2/a/blobs/uploads/x"),
        ("https://other.example/x#part", "https://other.example/x"),
        ("http://reg.example/x?y=%20", "https://reg.example:5000/x?y=%20"),
        ("http://reg.example:5000/x", "https://reg.example:5000/x"),
        ("/with space", "https://reg.example:5000/with%20space"),
    ):
        assert str(next_location(base, asked, location)) == expected
    for location in ("", "http://other.example/x", "http://reg.example:81/x", "mailto:a@b", "https://u:p@other/"):
        with pytest.raises(UpstreamBroken):
            next_location(base, asked, location)


def test_where_an_upload_ends() -> None:
    digest = Digest.of(b"")
    shown = f"digest=sha256%3A{digest.hex}"
    assert str(with_digest(URL("http://a/x"), digest)) == f"http://a/x?{shown}"
    location = URL("http://a/x?_state=a%2Bb%3D", encoded=True)
    assert str(with_digest(location, digest)) == f"http://a/x?_state=a%2Bb%3D&{shown}"


def test_headers_of_uploads() -> None:
    for header, expected in (("0-9", 10), ("bytes=0-9", 10), ("bytes 0-9/20", 10), ("0-0", 0), ("", 0), ("5-9", 0)):
        assert received(header) == expected
    for header, expected in (("10", 10), ("", 0), ("-1", 0), ("1e3", 0)):
        assert least_chunk(header) == expected


def test_how_a_blob_is_cut() -> None:
    small, large = Cut.of(WHOLE_LIMIT), Cut.of(WHOLE_LIMIT + 1)
    assert (small.chunk, large.chunk) == (None, CHUNK_SIZE)
    assert (small.end(0), large.end(0), large.end(WHOLE_LIMIT)) == (WHOLE_LIMIT, CHUNK_SIZE, WHOLE_LIMIT + 1)
    assert small.chunked().chunk == CHUNK_SIZE and small.with_least(2 * CHUNK_SIZE).chunked().chunk == 2 * CHUNK_SIZE
    tried = [small]
    while (cut := tried[-1].smaller()) is not None:
        tried.append(cut)
    assert [cut.chunk for cut in tried[1:]] == [CHUNK_SIZE, CHUNK_SIZE // 4, LEAST_CHUNK_SIZE]
    assert small.with_least(CHUNK_SIZE).smaller() == Cut(WHOLE_LIMIT, CHUNK_SIZE, CHUNK_SIZE)
    assert Cut.of(LEAST_CHUNK_SIZE).smaller() is None
    whole = large.whole()
    assert whole is not None and whole.end(0) == whole.size and whole.chunked() == whole
    assert whole.whole() is None and whole.smaller() is None


def test_refusals_are_of_one_sentence() -> None:
    repository = Repository("reg.example", "lab/tool")
    for status in (400, 401, 403, 404, 405, 413, 416, 418):
        for code in ("", "DENIED", "NAME_INVALID", "DIGEST_INVALID", "MANIFEST_BLOB_UNKNOWN"):
            found = error_of(Refusal("reg.example", status, code, " (words)"), repository, "blob x", 7, "somebody")
            assert found.message.startswith("reg.example ") and ". " not in found.message
    assert push_answers.error_of(Refusal("r", 400, "MANIFEST_BLOB_UNKNOWN"), repository, "manifest 1", 7, "x").passing
