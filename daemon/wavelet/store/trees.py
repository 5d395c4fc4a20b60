"""Directories that are made once and read by many: kept while there is room, and made again when they are asked for.

What is in them is made of blobs of the store. They count as reserved bytes, give way before any blob does, and begin
anew with the process.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
import weakref
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from wavelet.store.files import Trash

KEPT = 2
"""Directories that are kept though nobody reads them."""


@dataclass(slots=True)
class _Tree:
    path: Path
    size: int
    readers: int = 0


class Trees:
    """See the module. All methods are called in the loop's thread."""

    def __init__(
        self,
        directory: Path,
        trash: Trash,
        reserve: Callable[[int, str], Awaitable[None]],
        release: Callable[[int], None],
    ) -> None:
        """Take over `directory`; what an earlier process has left in it is removed."""
        self._directory = directory
        self._trash = trash
        self._reserve = reserve
        self._release = release
        self._trees: OrderedDict[str, _Tree] = OrderedDict()
        self._making: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()
        trash.discard(directory)

    @contextlib.asynccontextmanager
    async def read(
        self, key: str, size: Callable[[], Awaitable[int]], fill: Callable[[Path], Awaitable[None]]
    ) -> AsyncIterator[Path]:
        """Give the directory with a key, which stays as it is until the end.

        Args:
            key: what it is; equal keys have equal contents.
            size: returns how many bytes it may have. Asked for where it has to be made.
            fill: makes what is in it, in a directory that is empty.

        Raises:
            NoSpace: there is no room for it.
        """
        # Not in single flight: what fills a directory is held by whoever has asked for it, and only for so long.
        async with self._making.setdefault(key, asyncio.Lock()):
            tree = self._trees.get(key) or await self._make(key, await size(), fill)
            tree.readers += 1
            self._trees.move_to_end(key)
        try:
            yield tree.path
        finally:
            tree.readers -= 1
            self.drop(KEPT)

    async def _make(self, key: str, size: int, fill: Callable[[Path], Awaitable[None]]) -> _Tree:
        self.drop(KEPT - 1)
        await self._reserve(size, f"a directory that post-link scripts start from ({size} bytes)")
        path = self._directory / uuid.uuid4().hex
        try:
            await asyncio.to_thread(path.mkdir, mode=0o700, parents=True)
            await fill(path)
        except BaseException:
            self._trash.discard(path, lambda: self._release(size))
            raise
        self._trees[key] = tree = _Tree(path, size)
        return tree

    def drop(self, keep: int = 0) -> None:
        """Have all but the latest `keep` directories removed, and those that are read."""
        idle = [key for key, tree in self._trees.items() if not tree.readers]
        for key in idle[: max(0, len(self._trees) - keep)]:
            tree = self._trees.pop(key)
            self._trash.discard(tree.path, partial(self._release, tree.size))
