"""Servers that do not answer, not now, or in circles; several of them in a row."""

from __future__ import annotations

import asyncio
import socket
import time
from pathlib import Path

import pytest

from doubles.registry import Registry
from doubles.tunnel import Tunnel
from wavelet.config import ConfigError
from wavelet.errors import (
    AccessRefused,
    BlobNotFound,
    ImageNotFound,
    InvalidRequest,
    Stopping,
    UpstreamBroken,
    UpstreamBusy,
    UpstreamError,
    UpstreamUnreachable,
)
from wavelet.image.reference import Digest, Reference, Repository
from wavelet.plan.tokens import NOBODY, Identity, Login
from wavelet.upstream import bodies, transport
from wavelet.upstream.client import Upstream

MISSING = Digest("sha256:" + "0" * 64)
GETADDRINFO = socket.getaddrinfo


def at(reference: Reference, host: str) -> Reference:
    return Reference(Repository(host, reference.repository.path), reference.tag)


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
async def test_not_now_is_repeated(registry: Registry, upstream: Upstream, tool: Reference, status: int) -> None:
    registry.fault("/manifests/", status=status, times=2)
    assert (await upstream.head(tool, NOBODY)).size
    assert registry.count(None, "/manifests/") == 3, "where a HEAD fails with 500, GET is what is repeated"


async def test_not_now_for_good(registry: Registry, upstream: Upstream, tool: Reference) -> None:
    registry.fault("/manifests/", status=503)
    with pytest.raises(UpstreamBusy, match="answers 503") as caught:
        await upstream.manifest(tool, NOBODY)
    assert caught.value.retry_after == 5
    assert registry.count("GET", "/manifests/") == 3


async def test_retry_after_is_waited_for(registry: Registry, upstream: Upstream, tool: Reference) -> None:
    registry.fault("/manifests/", status=429, headers={"Retry-After": "1"}, times=1)
    started = time.monotonic()
    await upstream.head(tool, NOBODY)
    assert 1 <= time.monotonic() - started < 5


async def test_long_retry_after_is_passed_on(registry: Registry, upstream: Upstream, tool: Reference) -> None:
    body = b'{"errors":[{"code":"TOOMANYREQUESTS","message":"pull rate\\u0007 limit"}]}'
    registry.fault("/manifests/", status=429, headers={"Retry-After": "3600"}, body=body)
    with pytest.raises(UpstreamBusy, match="429, not now \\(pull rate limit\\)") as caught:
        await upstream.manifest(tool, NOBODY)
    assert caught.value.retry_after == 3600
    assert registry.count("GET", "/manifests/") == 1


async def test_status_that_makes_no_sense(registry: Registry, upstream: Upstream, tool: Reference) -> None:
    registry.fault("/manifests/", status=418)
    with pytest.raises(UpstreamBroken, match="418"):
        await upstream.head(tool, NOBODY)


async def test_lost_connection_is_repeated(registry: Registry, upstream: Upstream, tool: Reference) -> None:
    registry.fault("/manifests/", reset=-1, times=2)
    assert (await upstream.manifest(tool, NOBODY)).data


async def test_nobody_listens(upstream: Upstream, free_port: int) -> None:
    reference = Reference(Repository(f"127.0.0.1:{free_port}", "lab/tool"), "1")
    with pytest.raises(UpstreamUnreachable, match=rf"cannot reach 127.0.0.1:{free_port}: connection refused"):
        await upstream.head(reference, NOBODY)


async def test_name_that_does_not_resolve(upstream: Upstream) -> None:
    with pytest.raises(UpstreamUnreachable, match=r"cannot reach no-such-host.invalid: its name cannot be resolved"):
        await upstream.head(Reference(Repository("no-such-host.invalid", "a/b"), "1"), NOBODY)


async def test_no_answer_in_time(registry: Registry, client, tool: Reference, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "FIRST_BYTE_TIMEOUT", 0.2)
    upstream = await client()
    registry.fault("/manifests/", delay=5)
    with pytest.raises(UpstreamUnreachable, match="no answer within"):
        await upstream.head(tool, NOBODY)


async def test_answer_that_trickles(
    registry: Registry, upstream: Upstream, tool: Reference, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "SMALL_BODY_TIMEOUT", 0.3)
    registry.fault("/manifests/", rate=100)
    with pytest.raises(UpstreamUnreachable):
        await upstream.manifest(tool, NOBODY)


async def test_nothing_is_opened_after_its_end(registry: Registry, client, tool: Reference) -> None:
    """A fetch that its end has cut off takes itself up again for as long as nobody ends it."""
    upstream = await client()
    await upstream.head(tool, NOBODY)
    asked = len(registry.requests)
    await upstream.close()
    for ask in (upstream.head, upstream.manifest):
        with pytest.raises(Stopping):
            await ask(tool, NOBODY)
    assert len(registry.requests) == asked


async def test_not_http(upstream: Upstream) -> None:
    async def hello(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail ready\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(hello, "127.0.0.1", 0)
    async with server:
        host = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        with pytest.raises(UpstreamBroken, match="not HTTP"):
            await upstream.head(Reference(Repository(host, "a/b"), "1"), NOBODY)


async def test_redirect_loop_ends(registry: Registry, upstream: Upstream, tool: Reference) -> None:
    registry.fault("/blobs/", redirect="loop")
    with pytest.raises(UpstreamBroken, match="redirects more than 10"):
        async with upstream.blob(tool.repository, MISSING, NOBODY):
            pass
    assert registry.count("GET", "/blobs/") == 11


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://x/y", "http://", "http://u:p@127.0.0.1/x", "//["])
async def test_redirect_to_nonsense(registry: Registry, upstream: Upstream, tool: Reference, target: str) -> None:
    registry.fault("/blobs/", redirect=target)
    with pytest.raises(UpstreamBroken, match="redirects"):
        async with upstream.blob(tool.repository, MISSING, NOBODY):
            pass


async def test_signed_redirect_stays_as_it_is(registry: Registry, second: Registry, upstream: Upstream) -> None:
    raw: list[bytes] = []

    async def storage(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raw.append(await reader.readline())
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(storage, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        registry.fault("/blobs/", redirect=f"http://127.0.0.1:{port}/a%2Fb+c?sig=x%2By%3D&t=a%20b")
        async with upstream.blob(Repository(registry.host, "lab/tool"), MISSING, NOBODY) as stream:
            assert b"".join([chunk async for chunk in stream.chunks]) == b"hello"
    assert raw == [b"GET /a%2Fb+c?sig=x%2By%3D&t=a%20b HTTP/1.1\r\n"]


async def test_storage_that_refuses_is_not_the_registry_refusing(
    registry: Registry, second: Registry, upstream: Upstream, tool: Reference
) -> None:
    second.fault(".", status=403, body=b"<Error>expired</Error>")
    registry.fault("/blobs/", redirect=f"{second.url}/x?X-Secret=abc")
    with pytest.raises(UpstreamBroken, match="answers 403") as caught:
        async with upstream.blob(tool.repository, MISSING, NOBODY):
            pass
    assert "abc" not in caught.value.message


async def test_requests_to_one_host_are_bounded(registry: Registry, client, tool: Reference) -> None:
    upstream = await client(registries={registry.host: {"concurrency": 2}})
    await upstream.head(tool, NOBODY)
    registry.most_open = 0
    registry.fault("/manifests/", delay=0.05)
    async with asyncio.TaskGroup() as group:
        for _ in range(8):
            group.create_task(upstream.head(tool, NOBODY))
    assert registry.most_open == 2


async def test_mirrors_in_order_then_the_registry(registry: Registry, second: Registry, client, free_port: int) -> None:
    registry.add_image("cache/lab/tool", "1")
    dead = f"http://127.0.0.1:{free_port}"
    mirrors = [dead, second.url, f"{registry.url}/cache"]
    upstream = await client(registries={"reg.example": {"mirrors": mirrors}})
    reference = Reference(Repository("reg.example", "lab/tool"), "1")
    assert (await upstream.manifest(reference, NOBODY)).granted.public
    assert [dict(seen.query) for seen in registry.seen("GET", "/manifests/")] == [{"ns": "reg.example"}]
    assert second.count("GET", "/manifests/") == 1
    with pytest.raises(UpstreamUnreachable, match=r"reg\.example"):
        await upstream.head(Reference(Repository("reg.example", "lab/none"), "1"), NOBODY)


async def test_mirrors_only_never_asks_the_registry(
    registry: Registry, second: Registry, client, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fault D11: a site without internet: the mirror's 404 is the answer, at once, and its 503 is tried again."""
    monkeypatch.setattr(socket, "getaddrinfo", _only_loopback)
    registry.add_image("lab/tool", "1")
    here = {"reg.example": {"mirrors": [second.url, registry.url]}, "none.example": {"mirrors": [second.url]}}
    upstream = await client(registries=here, mirrors_only=True)
    tool = Reference(Repository("reg.example", "lab/tool"), "1")
    registry.fault("/manifests/", status=503, times=2)
    found = await upstream.head(tool, NOBODY)
    assert (await upstream.manifest(tool, NOBODY)).digest == found.digest
    for name in ("reg.example", "none.example"):
        absent = Reference(Repository(name, "lab/none"), "1")
        for asking in (upstream.head(absent, NOBODY), upstream.manifest(absent, NOBODY)):
            with pytest.raises(ImageNotFound, match=f"{second.host}.* has no image .*upstream.mirrors_only"):
                await asking
    with pytest.raises(BlobNotFound, match="mirrors_only"):
        await upstream.blob_size(tool.repository, MISSING, NOBODY)
    dead = {"reg.example": {"mirrors": [f"http://127.0.0.1:{free_port}", second.url]}}
    upstream = await client(registries=dead, mirrors_only=True)
    for _ in range(2):  # one that is left out for a while is asked all the same, where nobody else can be
        with pytest.raises(UpstreamUnreachable, match="connection refused") as caught:
            await upstream.head(tool, NOBODY)
        assert f"{second.host}, a mirror, has no image" in caught.value.message
        assert not caught.value.passing


async def test_a_mirrors_word_is_in_the_error_of_a_registry_out_of_reach(second: Registry, client) -> None:
    """Fault D11: without that setting the registry decides, and who cannot reach it hears of both."""
    upstream = await client(registries={"no-such-host.invalid": {"mirrors": [second.url]}})
    absent = Reference(Repository("no-such-host.invalid", "lab/none"), "1")
    with pytest.raises(UpstreamUnreachable, match=f"cannot reach no-such-host.*{second.host}, a mirror, has no image"):
        await upstream.head(absent, NOBODY)


def _only_loopback(host: str, port: object, *args: object, **more: object) -> object:
    assert host.startswith("127."), f"{host} is asked for"
    return GETADDRINFO(host, port, *args, **more)  # type: ignore[arg-type]


async def test_mirror_with_broken_content_is_passed_over(
    registry: Registry, second: Registry, client, tool: Reference
) -> None:
    upstream = await client(registries={registry.host: {"mirrors": [second.url]}})
    second.add_image("lab/tool", "1", [b"other"])
    second.fault("/manifests/", method="GET", corrupt=5)
    await upstream.manifest(tool, NOBODY)
    assert registry.count("GET", "/manifests/") == 1


async def test_mirror_that_breaks_off_is_left_out(registry: Registry, second: Registry, client) -> None:
    upstream = await client(registries={registry.host: {"mirrors": [second.url]}})
    data = b"y" * 100_000
    digest = Digest(registry.add_blob("a/b", data))
    second.add_blob("a/b", data)
    second.fault("/blobs/", reset=10)
    repository = Repository(registry.host, "a/b")
    with pytest.raises(UpstreamUnreachable):
        async with upstream.blob(repository, digest, NOBODY) as stream:
            [chunk async for chunk in stream.chunks]
    async with upstream.blob(repository, digest, NOBODY) as stream:
        assert b"".join([chunk async for chunk in stream.chunks]) == data


async def test_not_found_needs_the_registry_itself(registry: Registry, second: Registry, client) -> None:
    upstream = await client(registries={registry.host: {"mirrors": [second.url]}})
    with pytest.raises(ImageNotFound, match=registry.host):
        await upstream.head(Reference(Repository(registry.host, "lab/tool"), "9"), NOBODY)


@pytest.mark.parametrize("mirror", ["cache:5000", "ftp://cache", "http://u:p@cache", ""])
async def test_mirror_that_is_no_url(client, mirror: str) -> None:
    with pytest.raises(ConfigError, match=r"upstream\.registries\.x\.example\.mirrors"):
        await client(registries={"x.example": {"mirrors": [mirror]}})


@pytest.mark.process
async def test_own_authority(secure: Registry, client, certificate: tuple[Path, Path]) -> None:
    upstream = await client(registries={secure.host: {"ca_file": str(certificate[1])}})
    reference = Reference(Repository(secure.host, "lab/tool"), "1")
    secure.require_login(public=["*"])
    assert (await upstream.head(reference, NOBODY)).granted.public


@pytest.mark.process
async def test_unknown_authority(secure: Registry, upstream: Upstream) -> None:
    with pytest.raises(UpstreamUnreachable, match=r"certificate is not trusted .*ca_file"):
        await upstream.head(Reference(Repository(secure.host, "lab/tool"), "1"), NOBODY)


async def test_authority_file_that_is_none(client, tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    for _ in range(2):
        with pytest.raises(ConfigError, match=r"ca_file: .*ca.pem cannot be used"):
            await client(registries={"x.example": {"ca_file": str(file)}})
        file.write_text("hello")


async def test_redirect_to_plain_http_is_not_followed(
    secure: Registry, registry: Registry, client, certificate: tuple[Path, Path]
) -> None:
    upstream = await client(registries={secure.host: {"ca_file": str(certificate[1])}})
    secure.fault("/blobs/", redirect=f"{registry.url}/v2/lab/tool/blobs/{MISSING}")
    with pytest.raises(UpstreamBroken, match="from https to plain http") as caught:
        await upstream.blob_size(Repository(secure.host, "lab/tool"), MISSING, NOBODY)
    assert f"unless upstream.registries.{secure.host}.plain_redirects is set" in caught.value.message


async def test_redirect_to_plain_http_is_followed_where_it_is_set(
    secure: Registry, registry: Registry, client, certificate: tuple[Path, Path]
) -> None:
    """Fault B13: for this registry alone, and no login goes along."""
    both = {secure.host: {"ca_file": str(certificate[1]), "plain_redirects": True}}
    upstream = await client(registries=both)
    digest = Digest(registry.add_blob("lab/tool", b"bytes"))
    secure.require_login()
    secure.fault("/blobs/", redirect=f"{registry.url}/v2/lab/tool/blobs/{digest}")
    alice = Identity(uid=1, login=Login("alice", "wonder"), login_key="k")
    async with upstream.blob(Repository(secure.host, "lab/tool"), digest, alice) as stream:
        assert b"".join([chunk async for chunk in stream.chunks]) == b"bytes"
    assert "Authorization" not in registry.seen("GET", "/blobs/")[0].headers
    secure.fault("/manifests/", redirect=f"{registry.url}/v2/lab/tool/manifests/1")
    with pytest.raises(UpstreamBroken, match="plain http"):  # of a tag, nothing but TLS says that it is right
        await upstream.manifest(Reference(Repository(secure.host, "lab/tool"), "1"), alice)


@pytest.mark.parametrize("host", ["127.0.0.1:PORT", "no-such-host.invalid", "no-such-host.invalid:5000"])
async def test_what_waiting_cannot_mend_is_said_to_be_definite(upstream: Upstream, free_port: int, host: str) -> None:
    """Fault A4: nobody listens, or nobody has that name."""
    reference = Reference(Repository(host.replace("PORT", str(free_port)), "lab/tool"), "1")
    with pytest.raises(UpstreamUnreachable) as caught:
        await upstream.head(reference, NOBODY)
    assert not caught.value.passing


async def test_what_may_pass_is_told_apart(registry: Registry, upstream: Upstream, tool: Reference, secure) -> None:
    """Fault A4: a lost connection and "not now" may pass; a wrong digest or certificate does not."""
    untrusted = Reference(Repository(secure.host, "lab/tool"), "1")
    wrong = tool.at(MISSING)
    for reference, fault, passing in (
        (tool, {"reset": -1}, True),
        (tool, {"status": 503}, True),
        (tool, {"status": 429, "headers": {"Retry-After": "99"}}, True),
        (tool, {"status": 418}, False),
        (wrong, {"status": 200, "body": b"{}"}, False),
        (untrusted, {}, False),
    ):
        registry.fault("/manifests/", **fault)
        with pytest.raises(UpstreamError) as caught:
            await upstream.manifest(reference, NOBODY)
        assert caught.value.passing is passing, caught.value
        registry.clear_faults()


async def test_scheme_of_loopback_is_tried_once(registry: Registry, upstream: Upstream, tool: Reference) -> None:
    for _ in range(3):
        await upstream.head(tool, NOBODY)
    assert registry.count("GET", "^/v2/$") == 1


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1"])
async def test_loopback_names(registry: Registry, upstream: Upstream, tool: Reference, name: str) -> None:
    host = registry.host.replace("127.0.0.1", name)
    assert (await upstream.head(at(tool, host), NOBODY)).size


async def test_ipv6_loopback(upstream: Upstream) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("no IPv6 here")
    async with Registry(host="::1") as registry:
        registry.add_image("lab/tool", "1")
        assert (await upstream.head(Reference(Repository(registry.host, "lab/tool"), "1"), NOBODY)).size


async def test_proxy_of_the_environment(
    registry: Registry, upstream: Upstream, tool: Reference, client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plain http proxy gets the whole URL; the double answers it by its path."""
    monkeypatch.setenv("http_proxy", registry.url)
    plain = await client(registries={"reg.example": {"plain_http": True}})
    assert (await plain.head(at(tool, "reg.example"), NOBODY)).size
    assert registry.seen("HEAD", "/manifests/")[0].headers["Host"] == "reg.example"
    with pytest.raises(UpstreamUnreachable):
        monkeypatch.setenv("no_proxy", "reg.example")
        await plain.head(at(tool, "reg.example"), NOBODY)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert (await upstream.head(tool, NOBODY)).size


async def test_login_for_the_proxy(registry: Registry, client, tool: Reference, monkeypatch) -> None:
    monkeypatch.setenv("http_proxy", registry.url.replace("://", "://me:secret@"))
    upstream = await client(registries={"reg.example": {"plain_http": True}})
    assert (await upstream.head(at(tool, "reg.example"), NOBODY)).size
    headers = registry.seen("HEAD", "/manifests/")[0].headers
    assert headers["Proxy-Authorization"] == "Basic bWU6c2VjcmV0"
    assert "Authorization" not in headers


async def test_tunnel_through_a_proxy(
    secure: Registry, client, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    tunnel = Tunnel(secure.host)
    server = await asyncio.start_server(tunnel, "127.0.0.1", 0)
    async with server:
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        upstream = await client(registries={"reg.example": {"ca_file": str(certificate[1])}})
        assert (await upstream.head(Reference(Repository("reg.example", "lab/tool"), "1"), NOBODY)).size
        await upstream.close()
    assert tunnel.asked == [b"CONNECT reg.example:443 HTTP/1.1"]


async def test_registry_at_a_forbidden_address(upstream: Upstream) -> None:
    with pytest.raises(InvalidRequest, match="never asked"):
        await upstream.head(Reference(Repository("169.254.169.254", "latest/meta"), "1"), NOBODY)


async def test_proxy_that_refuses_the_tunnel(
    registry: Registry, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("https_proxy", registry.url)
    with pytest.raises(UpstreamUnreachable, match=r"cannot reach reg\.example: the proxy answers"):
        await upstream.head(Reference(Repository("reg.example", "a/b"), "1"), NOBODY)


async def test_the_three_sentences_differ(
    registry: Registry, upstream: Upstream, tool: Reference, free_port: int
) -> None:
    sentences = []
    registry.require_login("basic", public=["lab/none"])
    for reference in (tool, Reference(Repository(registry.host, "lab/none"), "1"), at(tool, f"127.0.0.1:{free_port}")):
        with pytest.raises((AccessRefused, ImageNotFound, UpstreamUnreachable)) as caught:
            await upstream.head(reference, NOBODY)
        sentences.append(caught.value.message)
    for word, sentence in zip(("refuses", "has no image", "cannot reach"), sentences, strict=True):
        assert word in sentence
