"""The forwarding of connections from a public socket to grpc's private one, with the caller's uid in the address."""

from __future__ import annotations

import asyncio
import secrets
import socket
import time
from collections.abc import Hashable
from typing import Literal, cast

from wavelet.errors import AccessRefused
from wavelet.front.accept import Acceptor
from wavelet.front.connections import SILENT_LIMIT, Connections
from wavelet.front.grpc.peer import Door, address_of
from wavelet.front.grpc.sockets import Listener, peer_of
from wavelet.host.uids import user_of
from wavelet.logs import Rarely

BUFFERED = 256 * 1024
"""Bytes that wait on one side for a slow other side, at the most; then its sender is not read any more."""

CHUNK = 64 * 1024
"""Bytes that are read at one time."""


class Forwarder:
    """One public socket, and the connections that came in by it."""

    def __init__(self, listener: Listener, door: Door, inner: str, connections: Connections) -> None:
        """Forward what comes in at `listener` to the socket at the path `inner`."""
        self._listener = listener
        self._door: Door = door
        self._inner = inner
        self._connections = connections
        self._failed = Rarely("a gRPC connection could not be taken on")
        self._acceptor: Acceptor | None = None
        self._ends: set[End] = set()

    def start(self) -> None:
        """Begin to accept."""
        self._acceptor = Acceptor(self._listener.socket, self._connect, self._connections, f"gRPC, {self._door}")

    def stop_accepting(self) -> None:
        """Accept no more, and remove the socket; what has come in goes on."""
        if self._acceptor is not None:
            self._acceptor.stop()
        self._listener.close()

    async def close(self) -> None:
        """Break off what is left."""
        self.stop_accepting()
        if self._acceptor is not None:
            await self._acceptor.close()
        for end in list(self._ends):
            end.abort()
        # Aborted transports close their sockets in the loop's next round.
        await asyncio.sleep(0)

    def began(self, end: End) -> None:
        """Remember an end."""
        self._ends.add(end)

    def ended(self, end: End) -> None:
        """Forget an end."""
        self._ends.discard(end)
        self._connections.remove(end)

    async def _connect(self, accepted: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        try:
            uid = user_of(peer_of(accepted)[1])
            inner = await self._inner_connection(uid)
        except (OSError, AccessRefused) as error:
            self._failed.warning(because=str(error))
            accepted.close()
            return
        end, other = End(self, uid), End(self, uid)
        other.join(end)
        end.join(other)
        try:
            await loop.create_unix_connection(lambda: other, sock=inner)
            await loop.connect_accepted_socket(lambda: end, accepted)
        except OSError as error:
            self._failed.warning(because=str(error))
            other.abort()
            inner.close()
            accepted.close()
            return
        if not end.is_closing():
            self._connections.add(end)

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

    def __init__(self, forwarder: Forwarder, caller: int | None) -> None:
        self._forwarder = forwarder
        self._caller = caller
        self._quiet_since = time.monotonic()
        self._silent = True
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
        if self._other is not None:
            self._other._pass_on(self)

    @property
    def caller(self) -> Hashable:
        """Whose connection it is, for who has how many."""
        return self._caller

    def quiet_since(self) -> float:
        """Return when the last bytes have passed, in whatever direction.

        Which calls are running in it is not known here. Whose connection ends because there is no more room connects
        again.
        """
        return self._quiet_since if self._other is None else max(self._quiet_since, self._other._quiet_since)

    def is_overdue(self, now: float) -> bool:
        """Tell whether the caller has said nothing yet, for too long."""
        return self._silent and now - self._quiet_since > SILENT_LIMIT

    def end(self, *, overdue: bool) -> None:
        """End now, and with it the other end."""
        self.abort()

    def get_buffer(self, sizehint: int) -> memoryview:
        """Say where to read into."""
        return self._taken_in

    def buffer_updated(self, nbytes: int) -> None:
        """Pass bytes on; until there is another end they are kept, and no more are read.

        A transport cannot be kept from reading before: Pythons before 3.11.4 begin to read after `connection_made`,
        whatever that has said.
        """
        self._quiet_since, self._silent = time.monotonic(), False
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

    def is_closing(self) -> bool:
        """Tell whether it has ended, or is about to."""
        return self._transport is None or self._transport.is_closing()

    def close(self) -> None:
        """End when all is sent."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """End now."""
        if self._transport is not None:
            self._transport.abort()
