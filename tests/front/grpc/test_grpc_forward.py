"""Forwarders: bytes both ways, half-closes, slow sides, and no descriptors left."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import re
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from wavelet.front import connections
from wavelet.front.connections import Connections
from wavelet.front.grpc import forward
from wavelet.front.grpc.forward import BUFFERED, Forwarder
from wavelet.front.grpc.sockets import open_listener

LIMIT = 10.0
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def forwarding(directory: Path, handler: Handler, counted: Connections | None = None) -> AsyncIterator[Path]:
    """Forward to a server whose connections `handler` serves; give the public socket's path."""
    inner, public = directory / "inner.sock", directory / "public.sock"
    served: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        served.add(task)
        with contextlib.suppress(ConnectionError):
            await handler(reader, writer)
        writer.close()

    server = await asyncio.start_unix_server(serve, str(inner))
    forwarder = Forwarder(
        open_listener(public, 0o666, "", "grpc.socket"), "user", str(inner), counted or Connections("gRPC", 100)
    )
    forwarder.start()
    try:
        async with asyncio.timeout(LIMIT):
            yield public
    finally:
        await forwarder.close()
        server.close()
        await asyncio.gather(*served, return_exceptions=True)
        assert not forwarder._ends


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()


async def test_bytes_go_both_ways_and_a_half_close_is_passed_on(tmp_path: Path) -> None:
    sent = os.urandom(3_000_000)
    async with forwarding(tmp_path, echo) as path:
        reader, writer = await asyncio.open_unix_connection(str(path))
        writer.write(sent)
        writer.write_eof()
        assert await reader.read() == sent
        writer.close()
        await writer.wait_closed()


async def test_the_inner_connections_address_says_who_calls(tmp_path: Path) -> None:
    async def tell(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(writer.get_extra_info("socket").getpeername())

    async with forwarding(tmp_path, tell) as path:
        reader, writer = await asyncio.open_unix_connection(str(path))
        name = (await reader.read()).decode()
        writer.close()
        await writer.wait_closed()
    assert re.fullmatch(rf"\0wavelet-{os.getpid()}-user-uid{os.geteuid()}-[0-9a-f]{{16}}", name)


async def test_an_end_on_either_side_ends_the_other_one(tmp_path: Path) -> None:
    ended = asyncio.Event()

    async def wait(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        assert await reader.read() == b"hello"
        ended.set()

    async with forwarding(tmp_path, wait) as path:
        _, writer = await asyncio.open_unix_connection(str(path))
        writer.write(b"hello")
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        await ended.wait()


async def test_a_side_that_does_not_read_stops_the_other_one(tmp_path: Path) -> None:
    release = asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await release.wait()
        writer.write(str(len(await reader.read())).encode())

    async with forwarding(tmp_path, slow) as path:
        with socket.socket(socket.AF_UNIX) as client:
            client.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(client, str(path))
            sent = 0
            with contextlib.suppress(TimeoutError):
                while True:
                    async with asyncio.timeout(0.3):
                        await loop.sock_sendall(client, b"x" * 65536)
                    sent += 65536
            # Buffers of the system's two connections, of the forwarder, and of this test's server.
            assert sent < BUFFERED + 2_000_000
            release.set()
            client.shutdown(socket.SHUT_WR)
            assert int(await loop.sock_recv(client, 100)) >= sent


@pytest.mark.parametrize("ends", ["half-closed", "open"])
async def test_what_comes_before_there_is_another_end_is_passed_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ends: str
) -> None:
    """Fault D1: before 3.11.4 a transport begins to read after `connection_made`, whatever that has said."""
    loop = asyncio.get_running_loop()
    connect, release, began = loop.connect_accepted_socket, asyncio.Event(), asyncio.Event()
    sent = os.urandom(500_000)

    async def late(*arguments: Any, **more: Any) -> Any:
        await release.wait()
        return await connect(*arguments, **more)

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(sent)
        if ends == "half-closed":
            writer.write_eof()
        began.set()
        await reader.read()

    async with forwarding(tmp_path, greet) as path:
        monkeypatch.setattr(loop, "connect_accepted_socket", late)
        reader, writer = await asyncio.open_unix_connection(str(path))
        await began.wait()
        for _ in range(20):
            await asyncio.sleep(0)
        release.set()
        assert await reader.readexactly(len(sent)) == sent
        if ends == "half-closed":
            assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()


async def test_a_connection_that_says_nothing_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fault D5: silent connections stayed for good; one that has begun stays."""
    monkeypatch.setattr(connections, "LOOK_INTERVAL", 0.05)
    monkeypatch.setattr(forward, "SILENT_LIMIT", 0.2)
    async with forwarding(tmp_path, echo) as path:
        reader, writer = await asyncio.open_unix_connection(str(path))
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"
        silent, _ = await asyncio.open_unix_connection(str(path))
        with contextlib.suppress(ConnectionError):
            assert await silent.read() == b""
        writer.write(b"again")
        assert await reader.readexactly(5) == b"again"
        for each in (writer, _):
            each.close()
            with contextlib.suppress(ConnectionError):
                await each.wait_closed()


async def test_who_has_most_connections_makes_room_for_others(tmp_path: Path) -> None:
    """Fault D5: of idle connections those make room that have been quiet longest."""
    async with forwarding(tmp_path, echo, Connections("gRPC", 3)) as path:
        opened = []
        for number in range(5):
            reader, writer = await asyncio.open_unix_connection(str(path))
            writer.write(b"%d" % number)
            assert await reader.readexactly(1) == b"%d" % number
            opened.append((reader, writer))
        for reader, _ in opened[:2]:
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
        for reader, writer in opened[2:]:
            writer.write(b"x")
            assert await reader.readexactly(1) == b"x"
        for _, writer in opened:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


async def test_without_descriptors_a_connection_ends_and_the_next_one_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = Forwarder._inner_connection

    async def fail(self: Forwarder, uid: int | None) -> socket.socket:
        monkeypatch.setattr(Forwarder, "_inner_connection", taken)
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    async with forwarding(tmp_path, echo) as path:
        monkeypatch.setattr(Forwarder, "_inner_connection", fail)
        reader, writer = await asyncio.open_unix_connection(str(path))
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
        reader, writer = await asyncio.open_unix_connection(str(path))
        writer.write(b"again")
        assert await reader.readexactly(5) == b"again"
        writer.close()
        await writer.wait_closed()
