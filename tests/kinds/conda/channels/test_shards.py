"""Shards are answered when their bytes are verified, whatever the disk does, and kept afterwards, many at a time."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import pytest

from wavelet.config import Settings
from wavelet.config.settings import Store
from wavelet.errors import NoSpace, UpstreamBroken
from wavelet.image.reference import Digest
from wavelet.kinds.conda.channels import shards
from wavelet.kinds.conda.channels.client import Channels
from wavelet.kinds.conda.channels.shards import ORIGIN, InMemory, Shards
from wavelet.store import content
from wavelet.store.content import Committed, ContentStore
from wavelet.store.database import Database
from wavelet.store.integrity import SMALL
from wavelet.upstream.credential_sources import Granted
from wavelet.upstream.streams import Stream

DATA = {f"https://c.example/linux-64/shards/{number}": bytes([number + 1]) * 1000 for number in range(40)}

ROOMY, FULL = (Settings(store=Store(limit=limit)) for limit in (1 << 30, 10))


class Server:
    """Stands in for channels: answers what is in `files`, and counts."""

    def __init__(self) -> None:
        self.files = dict(DATA)
        self.asked: Counter[str] = Counter()
        self.says_size = True

    @contextlib.asynccontextmanager
    async def open(self, url: str, offset: int = 0) -> AsyncIterator[Stream]:
        self.asked[url] += 1
        data = self.files[url]

        async def chunks() -> AsyncIterator[bytes]:
            await asyncio.sleep(0)
            for start in range(offset, len(data), 65536):
                yield data[start : start + 65536]

        size = len(data) if self.says_size else None
        yield Stream(offset, size, chunks(), Granted(public=True, by="the test"), lambda: None)


class Node:
    """A store that can be stopped, in good order or not, and started again."""

    def __init__(self, directory: Path, server: Server) -> None:
        self.directory, self.server = directory, server
        self.start()

    def start(self) -> None:
        self.database = Database(self.directory / "node.db", content.SCHEMA, synchronous="NORMAL")
        self.store = ContentStore(self.directory, self.database, ROOMY)
        self.shards = Shards(cast("Channels", self.server), self.store)

    async def stop(self) -> None:
        await self.shards.close()
        await self.store.close()
        self.database.close()

    async def get(self, url: str) -> InMemory | Committed:
        return await self.shards.get(url, digest_of(url))

    async def kept(self, url: str) -> bytes | None:
        blob = await self.store.open(digest_of(url), ORIGIN)
        return blob.path.read_bytes() if isinstance(blob, Committed) else None


def digest_of(url: str) -> Digest:
    return Digest(f"sha256:{hashlib.sha256(DATA.get(url, LARGE)).hexdigest()}")


LARGE = b"large" * SMALL
URLS = list(DATA)
OTHER = b"other" * 200


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
async def node(tmp_path: Path, server: Server) -> AsyncIterator[Node]:
    running = Node(tmp_path, server)
    yield running
    await running.stop()


async def test_shards_are_answered_before_they_are_written_and_written_without_waiting_for_the_disk(
    node: Node, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("the disk was waited for")

    monkeypatch.setattr(os, "fsync", never)
    monkeypatch.setattr(shards, "GATHERED", 0.0)
    answers = await asyncio.gather(*map(node.get, [*URLS, *URLS]))
    assert [cast("InMemory", each).data for each in answers] == [*DATA.values(), *DATA.values()]
    assert set(server.asked.values()) == {1}
    assert node.shards._writing is not None
    await node.shards._writing
    assert [await node.kept(url) for url in URLS] == list(DATA.values())
    assert isinstance(await node.get(URLS[0]), Committed)
    assert set(server.asked.values()) == {1}


async def test_shards_that_a_daemon_has_answered_are_there_after_a_stop_in_good_order(
    tmp_path: Path, server: Server
) -> None:
    node = Node(tmp_path, server)
    await asyncio.gather(*map(node.get, URLS))
    await node.stop()
    node.start()
    assert [await node.kept(url) for url in URLS] == list(DATA.values())
    await node.stop()


@pytest.mark.parametrize("left", [b"", bytes(1000), OTHER, None])
async def test_what_a_crash_of_the_machine_leaves_of_a_shard_is_never_answered(
    tmp_path: Path, server: Server, left: bytes | None
) -> None:
    node = Node(tmp_path, server)
    await node.get(URLS[0])
    await node.stop()
    path = node.store._path(digest_of(URLS[0]))
    path.unlink() if left is None else path.write_bytes(left)
    node.start()
    if left == OTHER:  # nothing but its bytes tells
        node.store._entries[digest_of(URLS[0])].changed = path.stat().st_ctime_ns
    answer = await node.get(URLS[0])
    assert isinstance(answer, InMemory)
    assert answer.data == DATA[URLS[0]]
    assert server.asked[URLS[0]] == 2
    await node.stop()
    assert path.read_bytes() == DATA[URLS[0]]


async def test_other_bytes_than_a_shards_own_are_neither_answered_nor_kept(node: Node, server: Server) -> None:
    server.files[URLS[0]] = DATA[URLS[1]]
    with pytest.raises(UpstreamBroken, match="instead of"):
        await node.get(URLS[0])
    assert node.shards._unwritten == {}
    server.files[URLS[0]] = DATA[URLS[0]]
    assert isinstance(await node.get(URLS[0]), InMemory)


@pytest.mark.parametrize("says_size", [True, False])
async def test_a_shard_that_is_not_small_is_not_held_in_memory(node: Node, server: Server, says_size: bool) -> None:
    url = "https://c.example/linux-64/shards/large"
    server.files[url], server.says_size = LARGE, says_size
    answer = await node.get(url)
    assert isinstance(answer, Committed)
    assert answer.path.read_bytes() == LARGE
    assert node.shards._unwritten == {}


async def test_shards_are_answered_where_the_store_has_no_room_for_them(
    node: Node, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "GATHERED", 0.0)
    node.store.configure(FULL)()
    answer = await node.get(URLS[0])
    assert isinstance(answer, InMemory)
    assert node.shards._writing is not None
    await node.shards._writing
    assert node.shards._unwritten == {}
    assert node.shards._held == 0
    node.store.configure(ROOMY)()
    assert isinstance(await node.get(URLS[0]), InMemory)
    assert server.asked[URLS[0]] == 2


async def test_no_more_than_so_many_bytes_wait_in_memory(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "UNWRITTEN_LIMIT", 2500)
    monkeypatch.setattr(shards, "GATHERED", 0.0)
    for url in URLS:
        await node.get(url)
        assert node.shards._held <= 3000


async def test_nothing_but_small_content_goes_without_the_disk(node: Node) -> None:
    data = bytes(SMALL + 1)
    with pytest.raises(ValueError, match="durably"):
        await node.store.add_small({Digest.of(data): data}, ORIGIN)
    with pytest.raises(NoSpace):
        node.store.configure(FULL)()
        await node.store.add_small({Digest.of(b"x" * 100): b"x" * 100}, ORIGIN)
    assert node.store.reserved == 0
