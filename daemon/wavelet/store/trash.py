"""The trash: what is to be removed is moved aside at once, and removed by a thread that nobody waits for.

A directory that programs of others have filled can take seconds to remove, or cannot be removed at all. Neither holds
up an answer, nor the start of the daemon: what is left of an earlier run is moved aside when the store is opened, and
what cannot be removed stays aside, is said at each start, and tried again then.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
import uuid
from collections.abc import Callable
from pathlib import Path

import structlog

from wavelet import directory_trees

log = structlog.get_logger()


class Trash:
    """A directory of what is to be removed, on the file system of what comes into it."""

    def __init__(self, directory: Path) -> None:
        """Take over a directory; what is in it will be removed."""
        self._directory = directory
        self._waiting: queue.SimpleQueue[tuple[Path, Callable[[], None]] | None] = queue.SimpleQueue()
        self._pending = 0
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for left in sorted(directory.iterdir()):
            self._put(left, _nothing)

    def discard(self, path: Path, removed: Callable[[], None] | None = None) -> None:
        """Have a file or directory removed: it is gone from its place at once.

        `removed` is called once, when its bytes are free or are known to stay: in the caller's loop, if it has one.
        """
        told = _in_loop(removed or _nothing)
        try:
            if path.is_dir() and not path.is_symlink():
                path.rmdir()  # often all that was in it has gone elsewhere
                (removed or _nothing)()
                return
        except OSError:
            pass  # there is something in it
        try:
            place = self._move(path)
        except FileNotFoundError:
            (removed or _nothing)()
            return
        except OSError as error:
            log.warning("what was made cannot be moved aside, and stays", path=str(path), because=error.strerror)
            place = path
        self._put(place, told)

    def wait(self, seconds: float) -> bool:
        """Wait until nothing is left to be removed; return whether that is so. Blocks."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._pending, seconds)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is left to be removed."""
        return not self._pending

    def close(self) -> None:
        """Begin with nothing more; what is left is removed after the next start."""
        self._waiting.put(None)

    def _move(self, path: Path) -> Path:
        place = self._directory / uuid.uuid4().hex
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o700)  # whoever moves a directory has to be allowed to write it
        try:
            return path.rename(place)
        except FileNotFoundError:
            # Those who tidy up may have removed the directory, as well as what is to go into it.
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            return path.rename(place)

    def _put(self, path: Path, removed: Callable[[], None]) -> None:
        with self._changed:
            self._pending += 1
            self._waiting.put((path, removed))
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, daemon=True, name="remove")
                self._thread.start()

    def _work(self) -> None:
        while (item := self._waiting.get()) is not None:
            path, removed = item
            try:
                directory_trees.remove(path)
            except OSError as error:
                why = error.strerror or str(error)
                log.warning("what is left of earlier work cannot be removed, and stays", path=str(path), because=why)
            removed()
            with self._changed:
                self._pending -= 1
                self._changed.notify_all()


def _in_loop(function: Callable[[], None]) -> Callable[[], None]:
    """Return what has `function` called in the loop that runs now, if one does."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return function

    def call() -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended, and all that it counted
            loop.call_soon_threadsafe(function)

    return call


def _nothing() -> None:
    """Do nothing when it is gone."""
