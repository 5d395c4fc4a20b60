"""Parts of open files that are sent on a connection: by the kernel, without being read here, where there is no TLS."""

from __future__ import annotations

import asyncio
import fcntl
import os
import struct
import termios
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from types import TracebackType

STALL_TIMEOUT = 30.0
"""Seconds in which the server takes no byte of what is sent, after which it is given up."""

READ_SIZE = 1024 * 1024
"""Bytes that are read at a time where the kernel cannot send them."""

_AT_ONCE = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class FileRange:
    """Bytes of a file, which stays open until they are sent, and does not lose them.

    Attributes:
        fd: the open file.
        offset: where they begin.
        size: their number.
    """

    fd: int
    offset: int
    size: int

    def __len__(self) -> int:
        return self.size

    def first(self, size: int) -> FileRange:
        """Return the first `size` bytes of it, or all."""
        return FileRange(self.fd, self.offset, min(size, self.size))

    async def read(self) -> AsyncGenerator[bytes, None]:
        """Yield its bytes; fewer where the file has ended."""
        offset, end = self.offset, self.offset + self.size
        while offset < end:
            piece = await asyncio.to_thread(os.pread, self.fd, min(READ_SIZE, end - offset), offset)
            if not piece:
                return
            offset += len(piece)
            yield piece


Piece = bytes | FileRange
"""What a source of bytes gives."""


class Stalled(OSError):
    """Nothing was taken for too long of what waits to be sent."""


def unsent(transport: asyncio.Transport) -> int:
    """Return how many bytes wait to be sent on a connection, in this process and in the kernel."""
    fd = transport.get_extra_info("socket").fileno()
    (queued,) = struct.unpack("i", fcntl.ioctl(fd, termios.TIOCOUTQ, b"\0\0\0\0"))
    return transport.get_write_buffer_size() + int(queued)


class Watch:
    """A context that breaks a connection off where nothing is taken of what waits to be sent on it.

    `on_stall` is called before that: what is lost with the connection may be heard of first by who reads from it.
    """

    def __init__(self, transport: asyncio.Transport | None, on_stall: Callable[[], None]) -> None:
        self._transport = transport
        self._on_stall = on_stall
        self._waiting: int | None = None
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> None:
        if self._transport is not None:
            self._timer = asyncio.get_running_loop().call_later(STALL_TIMEOUT / 2, self._look, self._transport)

    def _look(self, transport: asyncio.Transport) -> None:
        if transport.is_closing():
            return
        waiting = unsent(transport)
        if waiting == self._waiting:
            self._on_stall()
            transport.abort()
            return
        self._waiting = waiting
        self._timer = asyncio.get_running_loop().call_later(STALL_TIMEOUT / 2, self._look, transport)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()


def sends_files(transport: asyncio.Transport | None) -> bool:
    """Tell whether the kernel can send files on a connection."""
    return transport is not None and transport.get_extra_info("ssl_object") is None and hasattr(os, "sendfile")


async def send_file(transport: asyncio.Transport, part: FileRange) -> AsyncGenerator[int, None]:
    """Send a part of a file, and yield how many bytes have gone each time; fewer than all where the file has ended.

    Nothing else may wait to be sent. What the server answers meanwhile is read, as `loop.sendfile` would not.

    Raises:
        Stalled: see there.
        OSError: the connection broke.
    """
    fd = os.dup(transport.get_extra_info("socket").fileno())  # the transport waits for its own
    try:
        offset, end = part.offset, part.offset + part.size
        while offset < end:
            try:
                count = os.sendfile(fd, part.fd, offset, min(end - offset, _AT_ONCE))
            except BlockingIOError:
                await _until_writable(transport, fd)
                continue
            if not count:
                return
            offset += count
            yield count
            await asyncio.sleep(0)
    finally:
        os.close(fd)


async def _until_writable(transport: asyncio.Transport, fd: int) -> None:
    loop = asyncio.get_running_loop()
    waiting: int | None = None
    while True:
        writable = asyncio.Event()
        loop.add_writer(fd, writable.set)
        try:
            async with asyncio.timeout(STALL_TIMEOUT / 2):
                await writable.wait()
                return
        except TimeoutError:
            before, waiting = waiting, unsent(transport)
            if waiting == before:
                raise Stalled from None
        finally:
            loop.remove_writer(fd)
