"""Blocking work on a directory that all nodes share: in threads of its own. If it hangs, only its users wait."""

from __future__ import annotations

import asyncio
import errno
import os
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from wavelet.errors import DirectoryUnavailable, NoSpace, WaitExpired
from wavelet.store.filesystem import filesystem_type

T = TypeVar("T")

IO_WAIT = 30.0
"""Seconds after which a directory that does not answer is an error."""

CHECK_WAIT = 2.0
"""Seconds within which it has to answer to be called ready."""

_THREADS = 8
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})


class DirectoryIo:
    """The threads for one shared directory."""

    def __init__(self, root: Path, called: str = "the shared directory") -> None:
        """Begin with none; `called` is what it is to people, before its path."""
        self._root = root
        self._called = called
        self._seen: tuple[int, str] | None = None
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="records")

    async def run(self, work: Callable[..., T], *arguments: object, wait: float | None = None) -> T:
        """Return what `work` returns, within `wait` seconds (`IO_WAIT` where it is not given).

        Raises:
            WaitExpired: the directory does not answer.
            NoSpace: it is full.
            DirectoryUnavailable: it cannot be used.
        """
        wait = IO_WAIT if wait is None else wait
        try:
            async with asyncio.timeout(wait):
                return await asyncio.get_running_loop().run_in_executor(self._threads, self._work, work, arguments)
        except TimeoutError:
            message = f"{self._called} {self._root} has not answered for {wait:.0f} seconds"
            raise WaitExpired(message) from None
        except OSError as error:
            kind = NoSpace if error.errno in _NO_ROOM else DirectoryUnavailable
            place = error.filename2 or error.filename
            where = f" ({place})" if place else ""
            raise kind(f"{self._called} {self._root} cannot be used: {error.strerror}{where}") from error

    async def check(self) -> None:
        """Return if the directory can be read and written.

        Raises:
            WaitExpired, DirectoryUnavailable: it cannot.
        """
        await self.run(self._check_writable, wait=CHECK_WAIT)

    def _check_writable(self) -> None:
        if not os.access(self._root, os.R_OK | os.W_OK | os.X_OK):
            code = errno.EROFS if os.statvfs(self._root).f_flag & os.ST_RDONLY else errno.EACCES
            raise OSError(code, os.strerror(code))

    def _work(self, work: Callable[..., T], arguments: tuple[object, ...]) -> T:
        self.look()
        return work(*arguments)

    def look(self) -> None:
        """Return if the directory is the one that it was; one that has gone is not made anew, and hides no other.

        Blocking. The first look, at the latest that of the first work, says which one it is.

        Raises:
            OSError: it is away, or what is there is the empty place where it was mounted.
        """
        was_seen = self._seen is not None  # by now: another thread may make it, and look at it, at the same time
        try:
            status = self._root.stat()
        except FileNotFoundError:
            if not was_seen:
                return  # whoever writes first makes it
            raise
        if not stat.S_ISDIR(status.st_mode):
            raise NotADirectoryError(errno.ENOTDIR, "it is no directory")
        if self._seen is None:
            self._seen = status.st_dev, filesystem_type(self._root)
        elif status.st_dev != self._seen[0]:  # mounted again, it may have another number
            kind = filesystem_type(self._root)
            if kind != self._seen[1]:
                raise OSError(errno.ENODEV, f"it is on {kind}, not on {self._seen[1]} as before: is it mounted?")
            self._seen = status.st_dev, kind

    def close(self) -> None:
        """Begin no more."""
        self._threads.shutdown(wait=False, cancel_futures=True)
