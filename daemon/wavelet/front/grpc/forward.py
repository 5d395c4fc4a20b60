"""Forwarding: what comes in at a public socket goes on to grpc's private one, with the caller's uid in the address."""

from __future__ import annotations

import asyncio
import secrets
import socket
import sys
from typing import Any, Literal, cast

import structlog

from wavelet.errors import AccessRefused
from wavelet.front.grpc.peer import Door, address_of
from wavelet.front.grpc.sockets import Listener, peer_of
from wavelet.front.uids import user_of

BUFFERED = 256 * 1024
"""Bytes that wait on one side for a slow other side, at the most; then its sender is not read any more."""

CHUNK = 64 * 1024
"""Bytes that are read at one time."""

log = structlog.get_logger()


class Forwarder:
    """One public socket's accept loop, and the connections that came in by it."""

    def __init__(self, listener: Listener, door: Door, inner: str) -> None:
        """Forward what comes in at `listener` to the socket at the path `inner`."""
        self._listener = listener
        self._door: Door = door
        self._inner = inner
        self._server: asyncio.Server | None = None
        self._ends: set[End] = set()
        self._connecting: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Begin to accept. Where the process has no file descriptor left, asyncio's loop pauses and goes on."""
        loop = asyncio.get_running_loop()
        # From 3.13 on asyncio removes the file, which is the listener's matter, or that of who has opened the socket.
        leave: dict[str, Any] = {"cleanup_socket": False} if sys.version_info >= (3, 13) else {}
        self._server = await loop.create_unix_server(lambda: End(self), sock=self._listener.socket, **leave)

    def stop_accepting(self) -> None:
        """Accept no more, and remove the socket; what has come in goes on."""
        if self._server is not None:
            self._server.close()
        self._listener.close()

    async def close(self) -> None:
        """Break off what is left."""
        self.stop_accepting()
        for task in self._connecting:
            task.cancel()
        for end in list(self._ends):
            end.abort()
        await asyncio.gather(*self._connecting, return_exceptions=True)
        # Aborted transports close their sockets in the loop's next round.
        await asyncio.sleep(0)

    def accepted(self, end: End, transport: asyncio.Transport) -> None:
        """Take in the caller's end of a connection."""
        task = asyncio.create_task(self._connect(end, transport))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    def began(self, end: End) -> None:
        """Remember an end."""
        self._ends.add(end)

    def ended(self, end: End) -> None:
        """Forget an end."""
        self._ends.discard(end)

    async def _connect(self, end: End, transport: asyncio.Transport) -> None:
        other = End(self)
        try:
            _, number = peer_of(cast(socket.socket, transport.get_extra_info("socket")))
            inner = await self._inner_connection(user_of(number))
            other.join(end)
            end.join(other)
            await asyncio.get_running_loop().create_unix_connection(lambda: other, sock=inner)
        except (OSError, AccessRefused) as error:
            log.warning("a gRPC connection could not be taken on", because=str(error))
            end.abort()

    async def _inner_connection(self, uid: int | None) -> socket.socket:
        inner = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            inner.setblocking(False)
            inner.bind(address_of(self._door, uid, secrets.token_hex(8)))
            await asyncio.get_running_loop().sock_connect(inner, self._inner)
        except BaseException:
            inner.close()
            raise
        return inner


class End(asyncio.BufferedProtocol):
    """One end of a forwarded connection.

    What it reads into is the same for all ends: it is passed on before the loop reads again.
    """

    _taken_in = memoryview(bytearray(CHUNK))

    def __init__(self, forwarder: Forwarder) -> None:
        self._forwarder = forwarder
        self._transport: asyncio.Transport | None = None
        self._other: End | None = None
        self._early = bytearray()
        self._finished = False

    def join(self, other: End) -> None:
        """Say which end the bytes go to; this one may have begun already."""
        self._other = other

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin, with what the other end has read already."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(BUFFERED)
        self._forwarder.began(self)
        if self._other is None:
            self._forwarder.accepted(self, self._transport)
        else:
            self._other._pass_on(self)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Say where to read into."""
        return self._taken_in

    def buffer_updated(self, nbytes: int) -> None:
        """Pass bytes on; until there is another end they are kept, and no more are read.

        A transport cannot be kept from reading before: Python 3.11 up to 3.11.3 and older ones begin to read after
        `connection_made`, whatever that has said.
        """
        other = self._other
        if other is not None and other._transport is not None:
            other._transport.write(bytes(self._taken_in[:nbytes]))
        elif self._transport is not None:
            self._early += self._taken_in[:nbytes]
            self._transport.pause_reading()

    def _pass_on(self, other: End) -> None:
        """Give the other end, which has begun only now, all that this one has seen before."""
        if other._transport is None or self._transport is None:
            return
        if self._early:
            other._transport.write(bytes(self._early))
            self._early.clear()
        if self._transport.is_closing():
            other.close()
        elif self._finished:
            other._transport.write_eof()
        else:
            self._transport.resume_reading()

    def eof_received(self) -> Literal[True]:
        """Pass a half-close on, and stay open for the other direction."""
        self._finished = True
        other = self._other
        if other is not None and other._finished:
            # Nothing can come from either side any more, and asyncio does not end such a connection by itself.
            other.close()
            self.close()
        elif other is not None and other._transport is not None and not other._transport.is_closing():
            other._transport.write_eof()
        return True

    def pause_writing(self) -> None:
        """Read no more from the other end until this one has taken what it was sent."""
        other = self._other
        if other is not None and other._transport is not None and not other._transport.is_closing():
            other._transport.pause_reading()

    def resume_writing(self) -> None:
        """Read on."""
        other = self._other
        if other is not None and other._transport is not None and not other._transport.is_closing():
            other._transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """End the other end too, once it has taken what it was sent."""
        self._forwarder.ended(self)
        if self._other is not None:
            self._other.close()

    def close(self) -> None:
        """End when all is sent."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """End now."""
        if self._transport is not None:
            self._transport.abort()
