"""Blocking work on a directory that all nodes share: in threads of its own. If it hangs, only its users wait."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from wavelet.errors import NoSpace, OurError, WaitExpired

T = TypeVar("T")

IO_WAIT = 30.0
"""Seconds after which a directory that does not answer is an error."""

_THREADS = 8
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})


class DirectoryIo:
    """The threads for one shared directory."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="records")

    async def run(self, work: Callable[..., T], *arguments: object, wait: float | None = None) -> T:
        """Return what `work` returns, within `wait` seconds (`IO_WAIT` where it is not given).

        Raises:
            WaitExpired: the directory does not answer.
            NoSpace, OurError: it cannot be used.
        """
        wait = IO_WAIT if wait is None else wait
        try:
            async with asyncio.timeout(wait):
                return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)
        except TimeoutError:
            message = f"the shared directory {self._root} has not answered for {wait:.0f} seconds"
            raise WaitExpired(message) from None
        except OSError as error:
            kind = NoSpace if error.errno in _NO_ROOM else OurError
            place = error.filename2 or error.filename
            where = f" ({place})" if place else ""
            raise kind(f"the shared directory {self._root} cannot be used: {error.strerror}{where}") from error

    def close(self) -> None:
        """Begin no more."""
        self._threads.shutdown(wait=False, cancel_futures=True)
