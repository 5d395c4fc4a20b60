"""Connections that say nothing, too many of them, and no file descriptor left: the daemon answers who watches it."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from aiohttp import web

from lab.daemon import Daemon
from lab.http import request as send
from wavelet import defects, logs
from wavelet.config import Settings
from wavelet.front import connections, listener, operations
from wavelet.front.accept import Acceptor
from wavelet.front.bodies import Bodies
from wavelet.front.connections import SPARE, Connections
from wavelet.front.listener import Listening, listen
from wavelet.front.wave.answers import answering

SECONDS = 20.0
LIMIT = 4


@pytest.fixture
async def busy() -> AsyncIterator[asyncio.Event]:
    """Return the event that lets requests of `/busy` end."""
    event = asyncio.Event()
    yield event
    event.set()


@pytest.fixture
async def listening(monkeypatch: pytest.MonkeyPatch, busy: asyncio.Event) -> AsyncIterator[Listening]:
    reading = Bodies()

    async def wait(_: web.Request) -> web.Response:
        await busy.wait()
        return web.Response(text="done")

    async def echo(request: web.Request) -> web.StreamResponse:
        async with reading.read(request) as data:
            return web.json_response({"size": len(data)})

    monkeypatch.setattr(connections, "LOOK_INTERVAL", 0.05)
    monkeypatch.setattr(listener, "connections_for", lambda _: LIMIT)
    app = web.Application(client_max_size=0)
    app[operations.READY] = {"ready": True}
    app.router.add_get("/busy", wait)
    app.router.add_post("/echo", answering("echo", echo, lambda *_: None))
    operations.add_routes(app)
    listening = await listen(app, Settings(listen="127.0.0.1:0", grace_period=1))
    yield listening
    busy.set()
    await listening.close()


class Client:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def connect(cls, listening: Listening, sent: bytes = b"") -> Client:
        client = cls(*await asyncio.open_connection(*listening.address))
        client.writer.write(sent)
        return client

    async def get(self, path: str) -> bytes:
        """Return the answer's first line."""
        self.writer.write(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        return await self.first_line()

    async def first_line(self) -> bytes:
        async with asyncio.timeout(SECONDS):
            head = await self.reader.readuntil(b"\r\n\r\n")
            length = next((line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), b":0")
            await self.reader.readexactly(int(length.split(b":")[1]))
            return head.split(b"\r\n")[0]

    async def rest(self) -> bytes:
        """Return all that comes until the daemon closes."""
        try:
            async with asyncio.timeout(SECONDS):
                return await self.reader.read()
        except ConnectionError:
            return b""

    async def close(self) -> None:
        self.writer.transport.abort()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()


async def test_a_connection_that_says_nothing_ends(listening: Listening, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fault D5: silent connections stayed for good; one with a request behind it stays."""
    monkeypatch.setattr(listener, "SILENT_LIMIT", 0.3)
    silent, used = await Client.connect(listening), await Client.connect(listening)
    assert b" 200 " in await used.get("/healthz")
    assert await silent.rest() == b""
    assert b" 200 " in await used.get("/healthz")
    for client in (silent, used):
        await client.close()


@pytest.mark.parametrize("before", [0, 1], ids=["first", "second"])
async def test_half_a_request_ends(listening: Listening, monkeypatch: pytest.MonkeyPatch, before: int) -> None:
    """Fault D5: half-sent connections stayed for good; a byte now and then does not help."""
    monkeypatch.setattr(listener, "HEAD_LIMIT", 0.4)
    client = await Client.connect(listening)
    for _ in range(before):
        assert b" 200 " in await client.get("/healthz")
    client.writer.write(b"GET /healthz HTTP/1.1\r\nX: ")

    async def trickle() -> None:
        while not client.reader.at_eof():
            client.writer.write(b"x")
            await asyncio.sleep(0.05)

    trickling = asyncio.create_task(trickle())
    assert b" 408 " in await client.first_line()
    trickling.cancel()
    await client.close()


async def test_idle_connections_make_room(listening: Listening) -> None:
    """Fault D5: 300 idle connections, and `/healthz` hangs."""
    idle = [await Client.connect(listening) for _ in range(5 * LIMIT)]
    fresh = await Client.connect(listening)
    assert b" 200 " in await fresh.get("/healthz")
    assert await idle[0].rest() == b""
    for client in (*idle, fresh):
        await client.close()


async def test_where_all_are_busy_who_watches_is_answered(listening: Listening, busy: asyncio.Event) -> None:
    """Fault D5: room is kept for the health route."""
    working = [await Client.connect(listening, b"GET /busy HTTP/1.1\r\nHost: a\r\n\r\n") for _ in range(LIMIT)]
    for _ in range(20):
        await asyncio.sleep(0.01)
    for _ in range(2 * SPARE):
        watcher = await Client.connect(listening)
        assert b" 200 " in await watcher.get("/healthz")
        await watcher.close()
    other = await Client.connect(listening)
    assert b" 503 " in await other.get("/busy")
    assert await other.rest() == b""
    busy.set()
    for client in working:
        assert b" 200 " in await client.first_line()
        await client.close()
    await other.close()


async def test_without_descriptors_there_is_one_line_and_then_it_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Faults D5 and G10: 361,000 lines of the log in 13 s."""
    taken = asyncio.Event()
    listening = socket.create_server(("127.0.0.1", 0))

    class Exhausted:
        left = 20

        def __getattr__(self, name: str) -> Any:
            return getattr(listening, name)

        def accept(self) -> Any:
            self.left -= 1
            if self.left >= 0:
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
            return listening.accept()

    async def take(accepted: socket.socket) -> None:
        accepted.close()
        taken.set()

    monkeypatch.setattr("wavelet.front.accept.PAUSE", 0.001)
    with structlog.testing.capture_logs() as logged:
        acceptor = Acceptor(Exhausted(), take, Connections("HTTP", LIMIT), "HTTP")
        _, writer = await asyncio.open_connection(*listening.getsockname())
        async with asyncio.timeout(SECONDS):
            await taken.wait()
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        await acceptor.close()
    assert [entry["event"] for entry in logged if "accepted" in entry["event"]] == ["connections cannot be accepted"]


def test_no_descriptor_left_is_no_defect(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fault G10: a traceback in the log for each request."""
    monkeypatch.setattr(defects, "_NO_DESCRIPTOR", logs.Rarely("no file descriptor is left"))
    with structlog.testing.capture_logs() as logged:
        for number in range(100):
            try:
                raise OSError(errno.EMFILE if number % 2 else errno.ENFILE, "too many open files")
            except OSError:
                error = defects.defect("defect")
            assert (error.status, error.retry_after) == (503, defects.RETRY_AFTER)
            defects.handle_loop_error(asyncio.AbstractEventLoop(), {"exception": OSError(errno.EMFILE, "x")})
    assert len(logged) == 1
    assert "traceback" not in logged[0]


@pytest.mark.parametrize("path", ["/echo", "/nowhere"])
@pytest.mark.parametrize("coding", ["gzip", "deflate"])
async def test_a_body_that_is_not_in_its_coding(listening: Listening, coding: str, path: str) -> None:
    """Fault G10: 400 and one line."""
    body = b"this is neither"
    head = f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Encoding: {coding}\r\nContent-Length: {len(body)}\r\n\r\n"
    with structlog.testing.capture_logs() as logged:
        client = await Client.connect(listening, head.encode() + body)
        line = await client.first_line()
        await client.rest()
        await client.close()
    assert (b" 400 " if path == "/echo" else b" 404 ") in line
    assert [(entry["event"], "traceback" in entry) for entry in logged] == [("a request's body cannot be read", False)]


@pytest.mark.process
def test_a_daemon_with_few_descriptors_and_many_idle_connections(tmp_path: Path) -> None:
    """Fault D5, as it was seen: `ulimit -n 128` and 300 idle connections. The soft limit is raised to the hard one."""
    daemon = Daemon(tmp_path / "state", before=("bash", "-c", 'ulimit -Sn 100; ulimit -Hn 128; exec "$@"', "bash"))
    idle = []
    try:
        daemon.start()
        limits = Path(f"/proc/{daemon.pid}/limits").read_text()
        soft, hard = next(line for line in limits.splitlines() if line.startswith("Max open files")).split()[3:5]
        assert (soft, hard) == ("128", "128")
        for number in range(300):
            idle.append(socket.create_connection(("127.0.0.1", daemon.port), timeout=SECONDS))
            if number % 50 == 49:
                assert send("GET", f"{daemon.url}/healthz", seconds=5).status == 200
        for _ in range(100):
            with socket.socket(socket.AF_UNIX) as silent, contextlib.suppress(OSError):
                silent.settimeout(SECONDS)
                silent.connect(str(tmp_path / "state" / "wavelet.sock"))
        assert send("GET", f"{daemon.url}/healthz", seconds=5).status == 200
        assert "Traceback" not in daemon.log()
        assert len(daemon.log().splitlines()) < 30
    finally:
        for each in idle:
            each.close()
        assert daemon.stop() == 0
