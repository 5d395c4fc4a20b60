"""An index that has not changed is not read again by the solver, however often it is asked for; one that has is."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from lab import conda_channel
from lab.conda_channel import ChannelServer
from lab.conda_index import without_shards
from lab.conda_packages import Package
from wavelet.concurrency import gather_all
from wavelet.config import Settings
from wavelet.errors import NotFound
from wavelet.image.reference import Digest
from wavelet.kinds.conda.channels import relay
from wavelet.kinds.conda.channels.client import Channels
from wavelet.kinds.conda.channels.relay import Relay
from wavelet.kinds.conda.solve.solver import Question, Solver
from wavelet.store import content
from wavelet.store.content import ContentStore
from wavelet.store.database import Database

pytestmark = pytest.mark.process

VIRTUAL = (("__unix", "0", "0"),)


@dataclass
class Node:
    """A relay whose indexes are asked for again each time, and a solver behind it."""

    relay: Relay
    solver: Solver
    read: list[str]

    async def version(self, channel: str, package: str = "moves") -> str:
        records = await self.solver.solve(Question((package,), (channel,), "linux-64", VIRTUAL))
        return next(record.version for record in records if record.name == package)

    async def generation(self, channel: str) -> int:
        return (await self.relay.generations.of([channel]))[channel]


@pytest.fixture
async def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Node]:
    async with AsyncExitStack() as stack:
        settings = msgspec.convert(
            {"store": {"limit": 1 << 30}, "conda": {"repodata_ttl": 0, "solve_limit": 30}}, Settings
        )
        channels = await stack.enter_async_context(Channels(settings))
        database = Database(tmp_path / "node.db", content.SCHEMA + relay.SCHEMA, synchronous="NORMAL")
        stack.callback(database.close)
        store = ContentStore(tmp_path, database, settings)
        stack.push_async_callback(store.close)
        door = Relay(channels, store, database, settings)
        read: list[str] = []
        noted = door.generations.sent
        monkeypatch.setattr(door.generations, "sent", lambda url, digest: (read.append(url), noted(url, digest)))
        await door.start()
        stack.push_async_callback(door.close)
        solver = Solver(tmp_path / "solver", settings, mirror=door.url_for, generations=door.generations.of)
        stack.push_async_callback(solver.close)
        yield Node(door, solver, read)


@pytest.fixture(params=["sharded", "whole"])
def form(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def channel(form: str, tmp_path: Path) -> Path:
    return _formed(conda_channel.make_channel(tmp_path / "channel", [Package("moves", "1.0")]), form)


def _formed(channel: Path, form: str) -> Path:
    return without_shards(channel) if form == "whole" else channel


@pytest.fixture
def server(channel: Path) -> Iterator[ChannelServer]:
    with ChannelServer({"lab": channel}) as running:
        yield running


async def test_an_index_that_has_not_changed_is_not_read_again(
    node: Node, server: ChannelServer, channel: Path, form: str
) -> None:
    lab = server.channel()
    assert await node.version(lab) == "1.0"
    read, asked = list(node.read), server.count("repodata")
    assert read
    for _ in range(3):
        assert await node.version(lab) == "1.0"
    assert node.read == read
    assert server.count("repodata") > asked  # the server was asked whether it has changed
    _formed(conda_channel.add(channel, Package("moves", "2.0")), form)
    assert await node.version(lab) == "2.0"
    assert len(node.read) > len(read)
    read = list(node.read)
    assert await node.version(lab) == "2.0"
    assert node.read == read


async def test_the_solver_reads_again_once_however_many_solve_when_an_index_has_changed(
    node: Node, server: ChannelServer, channel: Path, form: str
) -> None:
    lab = server.channel()
    await node.version(lab)
    first = len(node.read)
    _formed(conda_channel.add(channel, Package("moves", "2.0")), form)
    assert set(await gather_all(node.version(lab) for _ in range(10))) == {"2.0"}
    assert len(node.read) == 2 * first


async def test_what_the_solver_has_read_stands_in_for_a_channel_that_does_not_answer(
    node: Node, server: ChannelServer
) -> None:
    lab = server.channel()
    await node.version(lab)
    before = await node.generation(lab)
    server.off()
    assert await node.version(lab) == "1.0"
    assert await node.generation(lab) == before


async def test_a_channel_that_is_gone_is_not_solved_from_memory(
    node: Node, server: ChannelServer, tmp_path: Path
) -> None:
    lab = server.channel()
    await node.version(lab)
    server.channels = {}
    with pytest.raises(NotFound):
        await node.version(lab)


async def test_a_channel_that_is_a_directory_is_read_again_when_its_files_have_changed(
    node: Node, channel: Path, form: str
) -> None:
    url = f"file://{channel}"
    assert await node.version(url) == "1.0"
    before = await node.generation(url)
    assert await node.generation(url) == before
    _formed(conda_channel.add(channel, Package("moves", "2.0")), form)
    assert await node.version(url) == "2.0"
    assert await node.generation(url) > before


async def test_of_an_index_that_is_forgotten_the_channel_counts_as_changed(
    node: Node, server: ChannelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = server.channel()
    await node.version(lab)
    before = await node.generation(lab)
    monkeypatch.setattr(relay, "INDEXES_HELD", 1)
    node.relay.generations.sent("https://other.example/c/noarch/repodata.json", Digest.of(b""))
    assert await node.generation(lab) > before
