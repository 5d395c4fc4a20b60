"""Channels that are directories: their files as streams, like those of a server."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import unquote

from wavelet.errors import AccessRefused, NotFound, UpstreamUnreachable
from wavelet.upstream.credential_sources import Granted
from wavelet.upstream.streams import Stream

READ_SIZE = 1024 * 1024
"""Bytes read at a time."""

_GRANTED = Granted(public=True, by="a directory")


class FileStream(Stream):
    """The bytes of a file from `offset` on. `version` changes when the file does."""

    def __init__(self, url: str, fd: int, offset: int) -> None:
        status = os.fstat(fd)
        self._fd = fd
        self._url = url
        self.version = f"{status.st_ino:x}-{status.st_mtime_ns:x}-{status.st_size:x}"
        self.offset = min(offset, status.st_size)
        self.size = status.st_size
        self.chunks = self._read()
        self.granted = _GRANTED

    async def _read(self) -> AsyncIterator[bytes]:
        position = self.offset
        try:
            while chunk := await asyncio.to_thread(os.pread, self._fd, READ_SIZE, position):
                position += len(chunk)
                yield chunk
        except OSError as error:
            raise UpstreamUnreachable(f"{self._url} cannot be read to its end ({error.strerror})") from None

    async def close(self) -> None:
        """Close the file."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


async def open_file(url: str, offset: int) -> FileStream:
    """Open the file of a `file://` URL.

    Raises:
        NotFound: there is no regular file.
        AccessRefused: the daemon's user may not read it.
        UpstreamUnreachable: the disk does not give it.
    """
    path = unquote(url.removeprefix("file://"))
    try:
        # Without O_NONBLOCK, opening a named pipe would wait for a writer.
        fd = await asyncio.to_thread(os.open, path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        raise NotFound(f"there is nothing at {url}") from None
    except PermissionError:
        raise AccessRefused(f"{url} cannot be read by the daemon's user") from None
    except OSError as error:
        raise UpstreamUnreachable(f"{url} cannot be read ({error.strerror})") from None
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise NotFound(f"{url} is not a file")
    if not await asyncio.to_thread(_is_below, fd, path):
        os.close(fd)
        raise AccessRefused(f"{url} is a link that leads out of its channel")
    return FileStream(url, fd, offset)


def _is_below(fd: int, path: str) -> bool:
    """Tell whether an opened file really lies in the channel (or directory of wheels) that its path says it is in."""
    channel = os.path.realpath(Path(path).parent.parent)
    return os.path.commonpath([channel, Path(f"/proc/self/fd/{fd}").readlink()]) == channel
