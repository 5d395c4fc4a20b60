"""A node that remembers what was made, in a database on disk, and that can be started again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from wavelet.image.image import Content, Descriptor, FromUpstream, Image
from wavelet.image.reference import Digest, Reference, Repository
from wavelet.kinds.registry_image.node import RegistryImage
from wavelet.kinds.table import FORMS
from wavelet.plan.canonical import key as key_of
from wavelet.resolve.memo import SCHEMA, Memo
from wavelet.store.database import Database


def image(name: str, *more: str) -> Image:
    """Return an image with contents that are called after what is given."""
    repository = Repository("quay.io", "a/b")
    contents = [
        Content(Descriptor("x", Digest.of(each.encode()), 1), FromUpstream(repository)) for each in (name, *more)
    ]
    return Image.of(contents[0].descriptor, contents)


class MemoNode:
    """The memo, and its database with these tables."""

    def __init__(self, path: Path, schema: str = SCHEMA) -> None:
        self.database = Database(path / "node.db", schema, synchronous="NORMAL")
        self.memo = Memo(self.database, FORMS)

    async def make(self, name: str, *more: str) -> str:
        """Remember an image as made; return its plan's key."""
        plan = RegistryImage(Reference.parse("quay.io/a/b").at(Digest.of(name.encode())))
        await self.memo.put(key_of(plan), plan, image(name, *more))
        return key_of(plan)


N = TypeVar("N", bound=MemoNode)


@contextmanager
def restarting(node: Callable[[], N]) -> Iterator[Callable[[], N]]:
    """Give a function that starts a node, after the last one was stopped."""
    running: list[N] = []

    def stop() -> None:
        while running:
            running.pop().database.close()

    def started() -> N:
        stop()
        running.append(node())
        return running[0]

    try:
        yield started
    finally:
        stop()
