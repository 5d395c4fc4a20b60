"""Uploads to registries of all sorts: whole, in chunks, mounted, broken off and taken up again."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from doubles.registry import Registry
from lab.push_sources import Pushed
from wavelet.errors import InvalidRequest, TooLarge, UpstreamBroken, UpstreamBusy, UpstreamError, UpstreamUnreachable
from wavelet.image.reference import Repository
from wavelet.plan.tokens import NOBODY, Identity, Login
from wavelet.upstream import file_ranges, push_plan, push_uploads
from wavelet.upstream.client import Upstream
from wavelet.upstream.file_ranges import FileRange, Piece
from wavelet.upstream.pusher import PushSource

ALICE = Identity(uid=1, login=Login("alice", "wonder"), login_key="a")
KIB = 1024
UPLOADS = "/blobs/uploads/"


@pytest.fixture(autouse=True, params=[False, True], ids=["memory", "file"])
def in_file(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Send everything from memory, and from files."""
    monkeypatch.setattr(Pushed, "in_file", request.param)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut at kibibytes, and wait for moments."""
    monkeypatch.setattr(push_plan, "WHOLE_LIMIT", 1000 * KIB)
    monkeypatch.setattr(push_plan, "CHUNK_SIZE", 200 * KIB)
    monkeypatch.setattr(push_plan, "LEAST_CHUNK_SIZE", 20 * KIB)
    monkeypatch.setattr(push_uploads, "UPLOADS", replace(push_uploads.UPLOADS, first_delay=0.01))


@pytest.fixture
def repository(registry: Registry) -> Repository:
    return Repository(registry.host, "lab/tool")


def blob(kib: int = 300) -> Pushed:
    return Pushed(os.urandom(kib * KIB + 7), piece=16 * KIB)


def held(registry: Registry, pushed: Pushed, path: str = "lab/tool") -> bool:
    return registry._blobs.get((path, pushed.digest)) == pushed.data


async def push(upstream: Upstream, repository: Repository, pushed: Pushed, *mounts: Repository) -> bool:
    return await upstream.pusher.push_blob(
        repository, pushed.source, ALICE, mount_from=mounts, on_bytes=pushed.on_bytes
    )


def methods(registry: Registry) -> list[str]:
    return [seen.method for seen in registry.seen(None, "/blobs/")]


def ranges(registry: Registry) -> list[str]:
    return [seen.headers["Content-Range"] for seen in registry.seen("PATCH")]


async def test_a_blob_goes_with_one_request(registry: Registry, upstream: Upstream, repository: Repository) -> None:
    pushed = blob()
    assert await push(upstream, repository, pushed)
    assert held(registry, pushed) and pushed.sent == len(pushed.data)
    assert methods(registry) == ["HEAD", "POST", "PUT"]
    sent = registry.seen("PUT")[0]
    assert sent.headers["Content-Length"] == str(len(pushed.data))
    assert sent.headers["Content-Type"] == "application/octet-stream"
    assert not await push(upstream, repository, pushed)
    assert methods(registry)[3:] == ["HEAD"]


async def test_an_empty_blob(registry: Registry, upstream: Upstream, repository: Repository) -> None:
    pushed = Pushed(b"")
    assert await push(upstream, repository, pushed)
    assert held(registry, pushed)


async def test_a_large_one_goes_in_chunks(registry: Registry, upstream: Upstream, repository: Repository) -> None:
    pushed = blob(1001)
    assert await push(upstream, repository, pushed)
    assert held(registry, pushed) and pushed.sent == len(pushed.data)
    assert methods(registry) == ["HEAD", "POST", *["PATCH"] * 6, "PUT"]
    assert ranges(registry)[0] == f"0-{200 * KIB - 1}"
    assert ranges(registry)[-1] == f"{1000 * KIB}-{len(pushed.data) - 1}"
    assert pushed.open_now == 0


async def test_a_registry_says_how_small_chunks_may_be(
    registry: Registry, upstream: Upstream, repository: Repository
) -> None:
    registry.uploads.least = 300 * KIB
    pushed = blob(1001)
    assert await push(upstream, repository, pushed)
    assert held(registry, pushed)
    assert registry.count("PATCH") == 4
    assert ranges(registry)[0] == f"0-{300 * KIB - 1}"


@pytest.mark.parametrize("form", ["relative", "absolute", "signed", "elsewhere"])
async def test_uploads_go_on_where_the_registry_says(
    registry: Registry, second: Registry, upstream: Upstream, repository: Repository, form: str
) -> None:
    registry.require_login("basic")
    second.uploads = registry.uploads
    second._blobs = registry._blobs
    registry.uploads.location = {
        "relative": lambda path: path.rpartition("/")[2],
        "absolute": lambda path: f"{registry.url}{path}",
        "signed": lambda path: f"{path}?_state=a%2Bb%3D%3D&x=~",
        "elsewhere": lambda path: f"{second.url}{path}?_state=a%2Bb%3D%3D",
    }[form]
    pushed = blob(1001)
    assert await push(upstream, repository, pushed)
    assert held(registry, pushed)
    assert second.count() == (7 if form == "elsewhere" else 0)
    assert not any("Authorization" in seen.headers for seen in second.requests)


@pytest.mark.parametrize("location", ["", "ftp://other/x", "http://user:x@other/", "http://[", "https://"])
async def test_a_location_that_leads_nowhere(
    registry: Registry, upstream: Upstream, repository: Repository, location: str
) -> None:
    registry.uploads.location = lambda _: location
    with pytest.raises(UpstreamBroken, match="begins an upload"):
        await push(upstream, repository, blob())


async def test_a_break_is_resumed_where_it_was(registry: Registry, upstream: Upstream, repository: Repository) -> None:
    registry.fault(UPLOADS, method="PUT", times=1, reads=100 * KIB, reset=-1)
    pushed = blob()
    assert await push(upstream, repository, pushed)
    assert held(registry, pushed) and pushed.sent == len(pushed.data)
    assert methods(registry)[:5] == ["HEAD", "POST", "PUT", "GET", "PATCH"]
    assert pushed.opened[1] >= 100 * KIB
    assert registry.uploads.received == len(pushed.data)


async def test_chunks_that_break_are_resumed(registry: Registry, upstream: Upstream, repository: Repository) -> None:
    registry.fault(UPLOADS, method="PATCH", times=4, skip=1, reads=10 * KIB, reset=-1)
    pushed = blob(1001)
    assert await push(upstream, repository, pushed)
    assert held(registry, pushed) and pushed.sent == len(pushed.data)
    assert registry.uploads.received == len(pushed.data)


@pytest.mark.parametrize("lack", ["keeps_broken", "tells"])
async def test_where_nothing_is_kept_it_begins_anew(
    registry: Registry, upstream: Upstream, repository: Repository, lack: str
) -> None:
    setattr(registry.uploads, lack, False)
    registry.fault(UPLOADS, method="PUT", times=1, reads=100 * KIB, reset=-1)
    pushed = blob()
    assert await push(upstream, repository, pushed)
    assert held(registry, pushed) and pushed.sent == len(pushed.data)
    assert registry.count("POST") == 2
    assert pushed.opened[:2] == [0, 0]
    assert registry.uploads.begun == {} or lack == "tells"


async def test_a_lost_answer_is_no_second_upload(
    registry: Registry, upstream: Upstream, repository: Repository
) -> None:
    registry.fault(UPLOADS, method="PUT", times=1, reset=-1)
    pushed = blob()
    assert await push(upstream, repository, pushed)
    assert methods(registry) == ["HEAD", "POST", "PUT", "GET", "DELETE", "HEAD"]
    assert registry.uploads.received == len(pushed.data)


@pytest.mark.parametrize("status", [500, 502, 503, 429, 408])
async def test_not_now_in_the_middle_of_a_chunk(
    registry: Registry, upstream: Upstream, repository: Repository, status: int
) -> None:
    registry.fault(UPLOADS, method="PATCH", times=2, skip=1, reads=50 * KIB, status=status)
    pushed = blob(1001)
    assert await push(upstream, repository, pushed)
    assert held(registry, pushed) and pushed.sent == len(pushed.data)


async def test_not_now_for_ever_ends(registry: Registry, upstream: Upstream, repository: Repository) -> None:
    registry.fault(UPLOADS, method="PATCH", skip=1, reads=0, status=503)
    with pytest.raises(UpstreamBusy, match=r"answers 503, not now; it has 204800 of \d+ bytes of blob sha256"):
        await push(upstream, repository, blob(1001))
    assert registry.count("PATCH") == 1 + push_uploads.UPLOADS.attempts
    assert registry.uploads.begun == {}


async def test_what_a_registry_asks_to_wait_is_heard(
    registry: Registry, upstream: Upstream, repository: Repository
) -> None:
    registry.fault(UPLOADS, method="PUT", reads=0, status=429, headers={"Retry-After": "3600"})
    with pytest.raises(UpstreamBusy) as raised:
        await push(upstream, repository, blob())
    assert raised.value.retry_after == 3600
    assert registry.count("PUT") == 1


async def test_an_upload_that_breaks_for_ever_ends(
    registry: Registry, upstream: Upstream, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(push_uploads, "BREAKS_LIMIT", 7)
    registry.fault(UPLOADS, method="PATCH", reads=1, reset=-1)
    registry.fault(UPLOADS, method="PUT", reads=1, reset=-1)
    with pytest.raises(UpstreamUnreachable):
        await push(upstream, repository, blob(900))
    assert registry.count("PATCH") + registry.count("PUT") <= 8


async def test_a_registry_that_starts_anew_gets_the_rest(
    registry: Registry, upstream: Upstream, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(push_uploads, "UPLOADS", replace(push_uploads.UPLOADS, first_delay=0.3))
    pushed = blob(1001)
    restarts: list[asyncio.Task[Any]] = []

    async def restart() -> None:
        await registry.stop()
        await asyncio.sleep(0.2)
        await registry.start()

    def on_piece(offset: int) -> None:
        if offset > 500 * KIB and not restarts:
            restarts.append(asyncio.create_task(restart()))

    pushed.on_piece = on_piece
    assert await push(upstream, repository, pushed)
    await restarts[0]
    assert held(registry, pushed)
    assert registry.count("POST") == 1


async def test_an_upload_that_is_lost_begins_anew(
    registry: Registry, upstream: Upstream, repository: Repository
) -> None:
    registry.uploads.forgets = 2
    pushed = blob()
    assert await push(upstream, repository, pushed)
    assert held(registry, pushed) and registry.count("POST") == 3
    registry.uploads.forgets = 99
    with pytest.raises(UpstreamError, match=r"has lost the upload of blob sha256:.*404"):
        await push(upstream, repository, blob())


async def test_a_registry_that_takes_no_byte_is_given_up(
    registry: Registry, upstream: Upstream, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_ranges, "STALL_TIMEOUT", 0.2)
    monkeypatch.setattr(push_plan, "WHOLE_LIMIT", 10**9)
    fault = registry.fault(UPLOADS, method="PUT", reads=0, reset=-1, stall=0)
    pushed = Pushed(bytes(40_000 * KIB))
    with pytest.raises(UpstreamUnreachable, match=r"took no byte of blob sha256:\w+ for"):
        async with asyncio.timeout(20):
            monkeypatch.setattr(push_uploads, "UPLOADS", replace(push_uploads.UPLOADS, attempts=1))
            await push(upstream, repository, pushed)
    fault.lift()
    assert pushed.open_now == 0


async def test_a_slow_registry_is_waited_for(
    registry: Registry, upstream: Upstream, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_ranges, "STALL_TIMEOUT", 0.2)
    registry.fault(UPLOADS, method="PUT", delay=0.6)
    pushed = blob()
    assert await push(upstream, repository, pushed)
    assert registry.count("PUT") == 1


async def test_a_larger_limit_of_a_proxy_is_found(
    registry: Registry, upstream: Upstream, repository: Repository
) -> None:
    registry.uploads.largest = 60 * KIB
    pushed = blob()
    assert await push(upstream, repository, pushed)
    assert held(registry, pushed) and pushed.sent == len(pushed.data)
    registry.uploads.largest = 10 * KIB
    with pytest.raises(TooLarge, match=r"does not take blob sha256:\w+: \d+ bytes are more than its limit"):
        await push(upstream, repository, blob())
    assert registry.uploads.begun == {}


async def test_a_registry_without_chunks_gets_the_whole(
    registry: Registry, upstream: Upstream, repository: Repository
) -> None:
    registry.uploads.chunks = False
    pushed = blob(1001)
    assert await push(upstream, repository, pushed)
    assert held(registry, pushed)
    registry.fault(UPLOADS, method="PUT", times=1, reads=100 * KIB, reset=-1)
    pushed = blob(1001)
    assert await push(upstream, repository, pushed)
    assert held(registry, pushed)
    assert registry.uploads.begun == {}


async def test_a_digest_that_is_disputed(registry: Registry, upstream: Upstream, repository: Repository) -> None:
    registry.uploads.disputes = 1
    with pytest.raises(UpstreamBroken, match="disputes the digest of blob sha256"):
        await push(upstream, repository, blob())
    assert registry.count("PUT") == 1
    registry.uploads.disputes = 1
    registry.fault(UPLOADS, method="PUT", times=1, reads=100 * KIB, reset=-1)
    pushed = blob()
    assert await push(upstream, repository, pushed), "what was put together of parts is sent once more"
    assert held(registry, pushed)


async def test_many_pushes_of_a_blob_are_one_upload(
    registry: Registry, upstream: Upstream, repository: Repository
) -> None:
    pushed = blob()
    sent = await asyncio.gather(*(push(upstream, repository, pushed) for _ in range(20)))
    assert sorted(sent) == [False] * 19 + [True]
    assert methods(registry) == ["HEAD", "POST", "PUT"] and pushed.sent == len(pushed.data)


async def test_somebody_elses_refusal_is_not_ones_own(
    registry: Registry, upstream: Upstream, repository: Repository
) -> None:
    registry.require_login("basic")
    pushed = blob()
    outcomes = await asyncio.gather(
        upstream.pusher.push_blob(repository, pushed.source, NOBODY),
        push(upstream, repository, pushed),
        return_exceptions=True,
    )
    assert isinstance(outcomes[0], Exception) and outcomes[1] is True


async def test_what_is_read_wrongly_is_not_the_registrys_fault(
    registry: Registry, upstream: Upstream, repository: Repository
) -> None:
    pushed = blob()
    for size, word in ((len(pushed.data) - 1, "more"), (len(pushed.data) + 1, "less")):
        source = replace(pushed.source, descriptor=replace(pushed.source.descriptor, size=size))
        with pytest.raises(
            UpstreamBroken, match=f"where blob sha256:.* is copied from there is {word} of it than {size}"
        ):
            await upstream.pusher.push_blob(repository, source, ALICE)
    assert registry.uploads.begun == {}


@pytest.mark.parametrize("error", [UpstreamUnreachable("the source broke"), UpstreamBusy("the source is busy")])
async def test_a_source_that_breaks_is_opened_again(
    registry: Registry, upstream: Upstream, repository: Repository, error: Exception
) -> None:
    pushed = blob()
    broke: list[int] = []

    def on_piece(offset: int) -> None:
        if offset >= 128 * KIB and not broke:
            broke.append(offset)
            raise error

    pushed.on_piece = on_piece
    assert await push(upstream, repository, pushed)
    assert held(registry, pushed) and len(pushed.opened) > 1


async def test_an_answer_that_comes_early_ends_the_sending(
    registry: Registry, upstream: Upstream, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(push_plan, "WHOLE_LIMIT", 10**9)
    registry.fault(UPLOADS, method="PUT", reads=1, status=418)
    pushed = Pushed(bytes(60_000 * KIB))
    async with asyncio.timeout(10):
        with pytest.raises(UpstreamBroken, match="it answers 418"):
            await push(upstream, repository, pushed)
        while pushed.open_now:
            await asyncio.sleep(0.01)
    assert pushed.sent < len(pushed.data)


async def test_a_file_that_loses_bytes_is_not_sent_for_whole(
    registry: Registry, upstream: Upstream, repository: Repository
) -> None:
    whole, cut = blob(), blob(200)
    with tempfile.TemporaryFile(buffering=0) as file:
        file.write(cut.data)

        @asynccontextmanager
        async def opened(offset: int) -> AsyncIterator[AsyncIterator[Piece]]:
            async def pieces() -> AsyncIterator[Piece]:
                yield FileRange(file.fileno(), offset, len(whole.data) - offset)

            yield pieces()

        source = PushSource(whole.source.descriptor, opened)
        with pytest.raises(UpstreamBroken, match="there is less of it than"):
            await upstream.pusher.push_blob(repository, source, ALICE)
    assert registry._blobs == {} and registry.uploads.begun == {}


async def test_a_source_that_fails_says_so(registry: Registry, upstream: Upstream, repository: Repository) -> None:
    pushed = blob()

    def on_piece(offset: int) -> None:
        if offset:
            raise FileNotFoundError("evicted")

    pushed.on_piece = on_piece
    with pytest.raises(FileNotFoundError, match="evicted"):
        await push(upstream, repository, pushed)
    assert registry.uploads.begun == {}


class TestMounts:
    async def test_a_blob_of_another_repository_is_mounted(
        self, registry: Registry, upstream: Upstream, repository: Repository
    ) -> None:
        pushed = blob()
        registry.add_blob("lab/base", pushed.data)
        elsewhere, base = Repository("other.example", "lab/base"), Repository(registry.host, "lab/base")
        assert not await push(upstream, repository, pushed, elsewhere, repository, base)
        assert held(registry, pushed) and pushed.opened == []
        assert methods(registry) == ["HEAD", "POST"]
        assert registry.seen("POST")[0].query == {"mount": pushed.digest, "from": "lab/base"}

    async def test_one_that_is_not_there_is_sent_where_it_began(
        self, registry: Registry, upstream: Upstream, repository: Repository
    ) -> None:
        pushed = blob()
        others = [Repository(registry.host, path) for path in ("lab/one", "lab/two")]
        assert await push(upstream, repository, pushed, *others)
        assert methods(registry) == ["HEAD", "POST", "POST", "DELETE", "PUT"]
        assert held(registry, pushed) and registry.uploads.begun == {}

    async def test_one_request_at_a_time_is_enough(
        self, registry: Registry, client: Callable[..., Any], repository: Repository
    ) -> None:
        upstream = await client(registries={registry.host: {"concurrency": 1}})
        registry.require_login("bearer")
        registry.fault(UPLOADS, method="PUT", times=1, reads=100 * KIB, reset=-1)
        others = [Repository(registry.host, path) for path in ("lab/one", "lab/two")]
        many = [blob(1001), blob(), blob()]
        async with asyncio.timeout(5):
            assert all(await asyncio.gather(*(push(upstream, repository, each, *others) for each in many)))
        assert all(held(registry, each) for each in many)

    @pytest.mark.parametrize("status", [400, 403, 404, 405])
    async def test_a_registry_that_mounts_nothing(
        self, registry: Registry, upstream: Upstream, repository: Repository, status: int
    ) -> None:
        registry.fault(UPLOADS, method="POST", times=1, status=status)
        pushed = blob()
        assert await push(upstream, repository, pushed, Repository(registry.host, "lab/one"))
        assert held(registry, pushed)


class TestTokens:
    async def test_a_mount_asks_for_both_repositories(
        self, registry: Registry, upstream: Upstream, repository: Repository
    ) -> None:
        registry.require_login("bearer")
        pushed = blob()
        registry.add_blob("lab/base", pushed.data)
        assert not await push(upstream, repository, pushed, Repository(registry.host, "lab/base"))
        assert registry.doors is not None
        assert set(registry.doors.scopes.values()) == {
            "repository:lab/tool:pull,push",
            "repository:lab/tool:pull,push repository:lab/base:pull",
        }

    async def test_a_mount_from_what_may_not_be_read_is_sent(
        self, registry: Registry, upstream: Upstream, repository: Repository
    ) -> None:
        registry.require_login("bearer", {"alice": ("wonder", ["lab/tool"])})
        pushed = blob()
        registry.add_blob("lab/base", pushed.data)
        assert await push(upstream, repository, pushed, Repository(registry.host, "lab/base"))
        assert held(registry, pushed)

    async def test_a_token_that_ends_in_the_middle_is_had_anew(
        self, registry: Registry, upstream: Upstream, repository: Repository
    ) -> None:
        doors = registry.require_login("bearer")
        pushed = blob(1001)
        ends = [400 * KIB, 800 * KIB]

        def on_piece(offset: int) -> None:
            if offset in ends:
                ends.remove(offset)
                doors.expire()

        pushed.on_piece = on_piece
        assert await push(upstream, repository, pushed)
        assert held(registry, pushed) and pushed.sent == len(pushed.data)
        assert doors.issued == 3
        assert registry.count("POST", UPLOADS) == 1


class TestRedirects:
    async def test_a_body_is_sent_again_where_it_is_sent_to(
        self, registry: Registry, second: Registry, upstream: Upstream, repository: Repository
    ) -> None:
        registry.require_login("basic")
        second.uploads, second._blobs = registry.uploads, registry._blobs
        pushed = blob()
        registry.uploads.location = lambda path: path
        registry.fault(UPLOADS, method="PUT", times=1, reads=0, redirect=f"{second.url}/elsewhere")
        second.fault("/elsewhere", method="PUT", status=201)
        assert await push(upstream, repository, pushed)
        assert second.count("PUT") == 1
        assert second.seen("PUT")[0].headers["Content-Length"] == str(len(pushed.data))
        assert "Authorization" not in second.seen("PUT")[0].headers

    @pytest.mark.parametrize("status", [301, 302, 303])
    async def test_others_would_lose_it(
        self, registry: Registry, upstream: Upstream, repository: Repository, status: int
    ) -> None:
        headers = {"Location": f"{registry.url}/elsewhere"}
        registry.fault(UPLOADS, method="PUT", reads=0, status=status, headers=headers)
        with pytest.raises(UpstreamBroken, match=f"redirects a PUT with {status}, by which what is sent is lost"):
            await push(upstream, repository, blob())
        assert registry.count(None, "/elsewhere") == 0


class TestOtherHosts:
    """Where a registry of somebody's choice sends an upload: it writes what that somebody likes."""

    @pytest.fixture
    async def careful(self, client: Callable[..., Any]) -> Any:
        return await client(private_networks="never")

    async def test_private_addresses_are_not_written_to(
        self, registry: Registry, second: Registry, careful: Upstream, repository: Repository
    ) -> None:
        registry.uploads.location = lambda path: f"{second.url}{path}"
        with pytest.raises(InvalidRequest, match=f"{second.host} is not asked: a private or loopback address"):
            await push(careful, repository, blob())
        assert second.count() == 0

    async def test_nor_by_a_redirect(
        self, registry: Registry, second: Registry, careful: Upstream, repository: Repository
    ) -> None:
        registry.fault(UPLOADS, method="PUT", reads=0, redirect=f"{second.url}/elsewhere")
        with pytest.raises(InvalidRequest, match=f"{second.host} is not asked: a private or loopback address"):
            await push(careful, repository, blob())
        assert second.count() == 0

    async def test_the_registry_itself_may_be_anywhere(
        self, registry: Registry, careful: Upstream, repository: Repository
    ) -> None:
        pushed = blob()
        assert await push(careful, repository, pushed)
        assert held(registry, pushed)


class TestTls:
    async def test_an_authority_of_its_own(
        self, secure: Registry, client: Callable[..., Any], certificate: tuple[Path, Path]
    ) -> None:
        upstream = await client(registries={secure.host: {"ca_file": str(certificate[1])}})
        pushed = blob(1001)
        assert await push(upstream, Repository(secure.host, "lab/tool"), pushed)
        assert held(secure, pushed)

    async def test_a_certificate_that_nobody_knows(self, secure: Registry, upstream: Upstream) -> None:
        with pytest.raises(UpstreamUnreachable, match="set ca_file for it"):
            await push(upstream, Repository(secure.host, "lab/tool"), blob())

    async def test_a_proxy_that_speaks_tls_for_it(
        self, secure: Registry, client: Callable[..., Any], certificate: tuple[Path, Path]
    ) -> None:
        """It names itself with http in what it answers, as it does not know better."""
        upstream = await client(registries={secure.host: {"ca_file": str(certificate[1])}})
        secure.uploads.location = lambda path: f"http://{secure.host}{path}?_state=a%2Bb%3D%3D"
        pushed = blob(1001)
        assert await push(upstream, Repository(secure.host, "lab/tool"), pushed)
        assert held(secure, pushed)

    async def test_nothing_goes_on_without_tls_elsewhere(
        self, secure: Registry, second: Registry, client: Callable[..., Any], certificate: tuple[Path, Path]
    ) -> None:
        upstream = await client(registries={secure.host: {"ca_file": str(certificate[1])}})
        secure.uploads.location = lambda path: f"{second.url}{path}"
        with pytest.raises(UpstreamBroken, match="sends an upload from https to plain http"):
            await push(upstream, Repository(secure.host, "lab/tool"), blob())
        assert second.count() == 0
