"""What may have other bytes when it is made again: the first one stands on all nodes, and is never evicted."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pytest

from lab.node import Node, open_node
from wavelet.errors import BlobNotFound
from wavelet.image.image import Content, Descriptor, Image
from wavelet.image.reference import Digest
from wavelet.kinds.kind import Kind, Stands, Work
from wavelet.kinds.table import KINDS, Row
from wavelet.plan import node as plan
from wavelet.plan.canonical import key as key_of
from wavelet.plan.node import View
from wavelet.plan.tokens import NOBODY

SIZE = 100_000
LIMIT = 400_000
"""Bytes of the throw of a die, and of the store of a node."""


@dataclass(frozen=True, slots=True)
class Die(plan.Node):
    tag = "die"

    name: str

    def write(self, view: View) -> dict[str, Any]:
        return {"die": self.name}

    @classmethod
    def read(cls, value: Mapping[str, Any], read: Callable[[Any], plan.Node]) -> Self:
        return cls(value["die"])


class Dice(Kind[Die]):
    """Whoever throws a die has other bytes each time."""

    node = Die
    stands = Stands.FIRST_MADE

    async def make(self, node: Die, work: Work) -> Image:
        data = os.urandom(SIZE)
        async with work.scratch(SIZE) as room:
            (room / "throw").write_bytes(data)
            thrown = await work.adopt(room / "throw", Descriptor("application/x-throw", Digest.of(data), SIZE))
        document = await work.keep(json.dumps(thrown.descriptor.as_json()).encode(), "application/json")
        return Image.of(document.descriptor, [document, thrown])

    def contents(self, document: bytes) -> tuple[str, Sequence[Descriptor]] | None:
        said = json.loads(document)
        return "application/json", [Descriptor(said["mediaType"], Digest(said["digest"]), said["size"])]


TABLE = (*KINDS, Row(Die, lambda _: Dice()))
DIE = Die("one")


async def throw(node: Node, die: Die = DIE) -> Content:
    """Return what a die shows."""
    image = await node.resolver.make(die, key_of(die), NOBODY)
    return next(content for content in image.contents if content.descriptor.size == SIZE)


async def fill(node: Node) -> None:
    """Take in more content than the store has room for."""
    for number in range(6):
        data = bytes([number]) * SIZE
        await node.store.add(data, Digest.of(data), "elsewhere")


async def test_the_last_copy_is_not_evicted(tmp_path: Path) -> None:
    async with open_node(tmp_path / "node", LIMIT, kinds=TABLE) as node:
        thrown = await throw(node)
        await fill(node)
        await node.resolver.open(thrown, NOBODY)
    async with open_node(tmp_path / "node", LIMIT, kinds=TABLE) as node:
        await fill(node)
        assert await throw(node) == thrown
        blob = await node.resolver.open(thrown, NOBODY)
        assert blob.digest == thrown.descriptor.digest


async def test_another_node_takes_what_was_made_first(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    async with (
        open_node(tmp_path / "one", LIMIT, shared=shared, kinds=TABLE) as one,
        open_node(tmp_path / "two", LIMIT, shared=shared, kinds=TABLE) as two,
    ):
        thrown = await throw(one)
        assert await throw(two) == thrown
        await fill(one)
        assert thrown.descriptor.digest not in one.store.retention, "the directory has a copy"
        await one.resolver.open(thrown, NOBODY)


async def test_what_is_lost_all_the_same_is_made_anew_and_stands_from_then_on(tmp_path: Path) -> None:
    async with open_node(tmp_path / "node", LIMIT, kinds=TABLE) as node:
        thrown = await throw(node)
        await lose(node, thrown)
        with pytest.raises(BlobNotFound, match="was lost"):
            await node.resolver.open(thrown, NOBODY)
        again = await throw(node)
        assert again != thrown
        await node.database.write([("DELETE FROM images", ())])
    async with open_node(tmp_path / "node", LIMIT, kinds=TABLE) as node:
        assert await throw(node) == again


async def lose(node: Node, content: Content) -> None:
    """Have a blob damaged on disk, and found out."""
    path = node.store._path(content.descriptor.digest)
    path.chmod(0o600)
    path.write_bytes(bytes(SIZE))
    os.utime(path, (1, 1))


async def test_the_last_copy_of_what_is_renewed_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()
    async with open_node(tmp_path, LIMIT, kinds=TABLE) as node:
        content = await throw(node)
        image = await node.resolver.make(DIE, key_of(DIE), NOBODY)
        for years in (1.5, 3):
            monkeypatch.setattr(time, "time", lambda years=years: now + years * 365 * 86400)
            await node.resolver.renew(image)
            node.store.retention.expire()
        await fill(node)
        assert node.store.size_of(content.descriptor.digest)
