"""A watch over files: edited in place, renamed over (editors), or reached by a link that is swapped (Kubernetes).

The directories are watched in which some entry decides which bytes a file has; what has happened there is not believed:
the files themselves are looked at, when they have been quiet for a moment.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import structlog
from watchdog import events
from watchdog.events import (
    DirCreatedEvent,
    DirDeletedEvent,
    DirModifiedEvent,
    DirMovedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver

from wavelet.host.path_entries import entries

QUIET = 0.25
"""Seconds without a change after which files count as written."""

RESTLESS_LIMIT = 10.0
"""Seconds after which they are read all the same."""

LOOK_LIMIT = 30.0
"""Seconds that one look at the files may take; they can be on a network."""

LOOKS = 10
"""Times that it is looked which files there are, while they change; each change is an event besides."""

_EVENTS: list[type[FileSystemEvent]] = [
    FileCreatedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    DirCreatedEvent,
    DirDeletedEvent,
    DirModifiedEvent,
    DirMovedEvent,
]
# Changes of owner and mode are events of their own from watchdog 7.1 on, and modifications before.
_EVENTS += [getattr(events, name) for name in ("DirAttribEvent", "FileAttribEvent") if hasattr(events, name)]

log = structlog.get_logger()


class FileState(NamedTuple):
    """What of a file counts as a change: where its path leads, whose it is and who may write it, and what is in it."""

    path: str
    real: str
    owner: int = 0
    mode: int = 0
    inode: int = 0
    size: int = 0
    changed: int = 0


State = tuple[FileState, ...]


class Watcher:
    """Waits for changes of the files that `files` returns, which may not exist yet. Used in one task."""

    def __init__(self, files: Callable[[], Iterable[Path]]) -> None:
        self._files = files
        self._happened = asyncio.Event()
        self._handler = _Handler(asyncio.get_running_loop(), self._happened)
        self._observer: BaseObserver | None = None
        self._watched: dict[Path, int] = {}
        self._state: State = ()

    async def start(self) -> None:
        """Take the files as they are now as known."""
        self._state = await self._look()

    async def changed(self) -> None:
        """Return when files have changed, and are quiet again."""
        while True:
            await self._happened.wait()
            state = await self._quiet_state()
            if state != self._state:
                self._state = state
                return

    def look_again(self) -> None:
        """Have the files looked at again: `files` returns others now."""
        self._happened.set()

    async def close(self) -> None:
        """End the watching threads."""
        if self._observer is not None:
            await asyncio.to_thread(_end, self._observer)

    async def _quiet_state(self) -> State:
        loop = asyncio.get_running_loop()
        end = loop.time() + RESTLESS_LIMIT
        state: State | None = None
        while state is None or (self._happened.is_set() and loop.time() < end):
            self._happened.clear()
            await asyncio.sleep(QUIET)
            state = await self._look()
        return state

    async def _look(self) -> State:
        async with asyncio.timeout(LOOK_LIMIT):
            return await asyncio.to_thread(self._look_now)

    def _look_now(self) -> State:
        for _ in range(LOOKS):
            files = list(self._files())
            directories = {place: _inode(place) for path in files for place in _places(path)}
            if directories == self._watched:
                break
            # First watched, then looked at, which files there are too: nothing is lost in between.
            self._watch(directories)
        return tuple(_state_of(path) for path in files)

    def _watch(self, directories: dict[Path, int]) -> None:
        self._watched = directories
        try:
            if self._observer is None:
                self._observer = Observer()
                self._observer.start()
            self._observer.unschedule_all()
            for directory in directories:
                self._observer.schedule(self._handler, str(directory), event_filter=_EVENTS)
        except OSError as error:
            log.warning("changes of files are not seen; send SIGHUP after one", because=error.strerror)


class _Handler(FileSystemEventHandler):
    def __init__(self, loop: asyncio.AbstractEventLoop, happened: asyncio.Event) -> None:
        self._loop = loop
        self._happened = happened

    def on_any_event(self, event: FileSystemEvent) -> None:
        del event
        with contextlib.suppress(RuntimeError):  # the loop has ended, and with it whoever would hear of it
            self._loop.call_soon_threadsafe(self._happened.set)


def _end(observer: BaseObserver) -> None:
    observer.stop()
    observer.join()


def _state_of(path: Path) -> FileState:
    real = os.path.realpath(path)
    try:
        status = path.stat()
    except OSError:
        return FileState(str(path), real)
    owner, mode = status.st_uid, status.st_mode
    if stat.S_ISDIR(mode):
        return FileState(str(path), "", owner, mode)  # its files are there in their own right
    return FileState(str(path), real, owner, mode, status.st_ino, status.st_size, status.st_mtime_ns)


def _inode(place: Path) -> int:
    try:
        return place.stat().st_ino
    except OSError:  # gone a moment ago: the next look has what is there then
        return 0


def _places(path: Path) -> Iterator[Path]:
    """Yield the directories in which an entry decides which file `path` is: that of each link on the way, and its own.

    A directory's entries decide what it is themselves. Where one does not exist, the nearest above it counts.
    """
    last = path
    try:
        for last in entries(path):
            if last.is_symlink():
                yield last.parent
    except OSError:  # links in a circle: those that have been seen lead there
        return
    yield last.parent
    if last.is_dir():
        yield last
