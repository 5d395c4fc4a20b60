"""Bodies of requests: room is reserved as bytes arrive and per caller, and slow ones end."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
from collections.abc import AsyncIterator, Awaitable, Callable

import aiohttp
import pytest
from aiohttp import web

from wavelet.config import Settings
from wavelet.errors import WaveletError
from wavelet.front import bodies
from wavelet.front.bodies import Bodies
from wavelet.front.keys import CALLER
from wavelet.front.listener import BODY_LIMIT, Listening, listen
from wavelet.front.wave.answers import message_response
from wavelet.requests.access import Caller

SECONDS = 20.0
LIMIT = 400_000


@contextlib.asynccontextmanager
async def serving() -> AsyncIterator[Listening]:
    """Serve `/echo`, which answers a body's size; the header `X-User` stands for who calls."""
    reading = Bodies()

    @web.middleware
    async def as_caller(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        request[CALLER] = Caller(int(request.headers["X-User"]) if "X-User" in request.headers else None)
        return await handler(request)

    async def echo(request: web.Request) -> web.Response:
        try:
            async with reading.read(request) as data:
                return web.json_response({"size": len(data)})
        except WaveletError as error:
            return message_response(error)

    async def streamed(request: web.Request) -> web.Response:
        try:
            return web.json_response({"size": sum([len(chunk) async for chunk in bodies.stream_body(request)])})
        except WaveletError as error:
            return message_response(error)

    app = web.Application(middlewares=[as_caller], client_max_size=0)
    app.router.add_post("/echo", echo)
    app.router.add_post("/v2/local/x/blobs/uploads/", streamed)
    listening = await listen(app, Settings(listen="127.0.0.1:0"))
    try:
        yield listening
        async with asyncio.timeout(SECONDS):  # until it is known that the clients have gone
            while reading._held or reading._total:
                await asyncio.sleep(0.01)
    finally:
        await listening.close()


@contextlib.asynccontextmanager
async def begun(
    listening: Listening, sent: bytes, *, announced: int = BODY_LIMIT, user: int = 1, path: str = "/echo"
) -> AsyncIterator[asyncio.StreamReader]:
    """Begin a request, which announces a body and sends some of it."""
    reader, writer = await asyncio.open_connection(*listening.address)
    head = f"POST {path} HTTP/1.1\r\nHost: a\r\nX-User: {user}\r\nContent-Length: {announced}\r\n\r\n"
    writer.write(head.encode() + sent)
    await writer.drain()
    try:
        yield reader
    finally:
        writer.transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def post(listening: Listening, data: bytes, user: int, **headers: str) -> tuple[int, dict[str, object]]:
    headers = {name.replace("_", "-"): value for name, value in headers.items()} | {"X-User": str(user)}
    url = "http://{}:{}/echo".format(*listening.address)
    async with aiohttp.ClientSession() as session, session.post(url, data=io.BytesIO(data), headers=headers) as answer:
        return answer.status, await answer.json()


async def answer_of(reader: asyncio.StreamReader) -> tuple[bytes, dict[str, object]]:
    async with asyncio.timeout(SECONDS):
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
        return head.split(b"\r\n")[0], json.loads(await reader.readexactly(length))


async def test_what_is_announced_and_not_sent_keeps_nobody_out() -> None:
    """Fault G5: eight connections with `Content-Length: 33554432` and one byte each."""
    async with serving() as listening, contextlib.AsyncExitStack() as stack:
        for number in range(12):
            await stack.enter_async_context(begun(listening, b"{", user=number % 2))
        assert await post(listening, b"{}", user=3) == (200, {"size": 2})
        assert await post(listening, bytes(5_000_000), user=1) == (200, {"size": 5_000_000})


async def test_the_room_of_one_caller_is_not_anothers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fault G5: bounded per caller; small requests need no room."""
    monkeypatch.setattr(bodies, "ARRIVING_LIMIT", 2 * LIMIT)
    monkeypatch.setattr(bodies, "CALLER_LIMIT", LIMIT)
    async with serving() as listening, begun(listening, bytes(LIMIT), announced=LIMIT + 1) as reader:
        for _ in range(100):  # until what was sent has been read
            status, answer = await post(listening, bytes(LIMIT), user=1)
            if status == 503:
                break
        assert "too many large requests of yours are arriving" in str(answer["message"])
        assert (await post(listening, bytes(1000), user=1))[0] == 200
        assert (await post(listening, bytes(LIMIT), user=2))[0] == 200
        async with begun(listening, bytes(LIMIT), announced=LIMIT + 1, user=2):
            for _ in range(100):
                status, answer = await post(listening, bytes(LIMIT), user=3)
                if status == 503:
                    break
            assert str(answer["message"]).startswith("too many large requests are arriving")
            assert (await post(listening, bytes(1000), user=3))[0] == 200
        assert not reader.at_eof()


async def test_a_body_that_stops_coming_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fault G5: slow bodies time out."""
    monkeypatch.setattr(bodies, "BODY_PAUSE", 0.2)
    async with serving() as listening, begun(listening, b"{") as reader:
        line, answer = await answer_of(reader)
        assert (line.split()[1], "nothing of it came for" in str(answer["message"])) == (b"400", True)


async def trickled(listening: Listening, path: str) -> tuple[bytes, str]:
    """Return the status and the message that a body gets of which a byte comes now and then."""
    reader, writer = await asyncio.open_connection(*listening.address)
    writer.write(f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n".encode())

    async def trickle() -> None:
        while not reader.at_eof():
            writer.write(b"x")
            await asyncio.sleep(0.05)

    trickling = asyncio.create_task(trickle())
    line, answer = await answer_of(reader)
    trickling.cancel()
    writer.transport.abort()
    return line.split()[1], str(answer["message"])


async def test_a_body_that_trickles_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fault G5: as many bytes as keep a connection alive are not enough."""
    monkeypatch.setattr(bodies, "BODY_WAIT", 0.5)
    async with serving() as listening:
        status, message = await trickled(listening, "/echo")
    assert (status, "has not arrived within" in message) == (b"400", True)


async def test_a_body_that_breaks_off_gives_its_room_back() -> None:
    async with serving() as listening:
        async with begun(listening, bytes(300_000)):
            pass
        assert await post(listening, b"{}", user=1) == (200, {"size": 2})


UPLOAD = "/v2/local/x/blobs/uploads/"


async def test_an_upload_may_be_larger_than_any_other_body() -> None:
    async with serving() as listening:
        url = "http://{}:{}".format(*listening.address)
        async with aiohttp.ClientSession() as session:
            data = io.BytesIO(bytes(BODY_LIMIT + 1))
            async with session.post(url + UPLOAD, data=data) as answer:
                assert (answer.status, await answer.json()) == (200, {"size": BODY_LIMIT + 1})


async def test_an_upload_that_stops_coming_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "BODY_PAUSE", 0.2)
    async with serving() as listening, begun(listening, b"x", path=UPLOAD) as reader:
        line, answer = await answer_of(reader)
        assert (line.split()[1], "nothing of it came for" in str(answer["message"])) == (b"400", True)


async def test_an_upload_that_trickles_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "BODY_WAIT", 0.3)
    async with serving() as listening:
        status, message = await trickled(listening, UPLOAD)
    assert (status, "comes too slowly" in message) == (b"400", True)
