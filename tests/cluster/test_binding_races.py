"""Processes that bind the same names at the same moment, and processes that are killed while they do: one pin each."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from cluster.crash import TESTS
from cluster.keepers import Keeper, OpenedSqliteRecords
from cluster.suite import KEY, LIFETIME, LIFETIMES, pin_of, undecided_record
from lab.disks import without_hard_links
from wavelet.cluster.shared_directory import record_files
from wavelet.cluster.shared_directory.records import DirectoryRecords
from wavelet.kinds.table import FORMS

pytestmark = pytest.mark.process

ALL, SOME, NONE = ("links",) * 4, ("links", "no-links") * 2, ("no-links",) * 4

of_any_file_system = pytest.mark.parametrize("nodes", [ALL, SOME, NONE], ids=["links", "some links", "no links"])


def nonces(count: int) -> list[str]:
    return [f"{number:032x}" for number in range(1, count + 1)]


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": f"{TESTS}:{TESTS.parent / 'daemon'}"}


class Binder:
    """A node of `binder.py`."""

    def __init__(self, pid: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._pid = pid
        self._reader = reader
        self._writer = writer

    @classmethod
    async def at(cls, own: socket.socket) -> Binder:
        reader, writer = await asyncio.open_connection(sock=own)
        return cls(int(await reader.readline()), reader, writer)

    def ask(self, *names: str) -> None:
        self._writer.write("".join(f"{name}\n" for name in names).encode())

    async def line(self) -> str:
        return (await self._reader.readline()).decode().strip()

    async def read_then_kill(self, lines: int) -> list[str]:
        said = [await self.line() for _ in range(lines)]
        os.kill(self._pid, signal.SIGKILL)
        rest = b""
        with contextlib.suppress(ConnectionResetError):  # it had not read what it was asked, and said nothing
            while part := await self._reader.read(1000):
                rest += part
        return said + [line.strip() for line in rest.decode().splitlines(keepends=True) if line.endswith("\n")]

    async def close(self) -> None:
        self._writer.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()


@asynccontextmanager
async def binders(keeper: type[Keeper], path: Path, nodes: Sequence[str]) -> AsyncIterator[list[Binder]]:
    """Give a process for each of `nodes`, each with a pin of its own."""
    pairs = [socket.socketpair() for _ in nodes]
    each = [f"{its.fileno()}:of {n}:{links}" for n, ((_, its), links) in enumerate(zip(pairs, nodes, strict=True))]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cluster.binder", keeper.__module__, keeper.__name__, str(path), *each),
        env=environment(),
        pass_fds=[its.fileno() for _, its in pairs],
    )
    for _, its in pairs:
        its.close()
    made = await asyncio.gather(*(Binder.at(own) for own, _ in pairs))
    try:
        yield made
    finally:
        for binder in made:
            await binder.close()
        await process.wait()


async def keep(keeper: type[Keeper], path: Path, names: Sequence[str]) -> None:
    records = keeper(path, KEY, FORMS, LIFETIMES)
    await asyncio.gather(*(records.put(undecided_record(nonce=nonce), {}) for nonce in names))
    await records.close()


@of_any_file_system
async def test_nodes_that_bind_one_name_at_once_get_one_pin(tmp_path: Path, nodes: Sequence[str]) -> None:
    await bind_at_once(tmp_path / "shared", nodes)


async def bind_at_once(path: Path, nodes: Sequence[str]) -> None:
    names = nonces(15)
    await keep(DirectoryRecords, path, names)
    won = set()
    async with binders(DirectoryRecords, path, nodes) as processes:
        for name in names:
            for process in processes:
                process.ask(name)
            said = {await process.line() for process in processes}
            assert len(said) == 1, said
            won |= {line.partition(" ")[2] for line in said}
    assert won <= {pin_of(undecided_record(), f"of {n}").name for n in range(len(nodes))}
    assert [each for each in path.rglob("*") if each.name.endswith(".tmp")] == []


async def kill_in_a_loop(keeper: type[Keeper], path: Path, nodes: Sequence[str], rounds: int = 3) -> int:
    """Kill processes while they bind; return how many names were bound, each of them once and for good."""
    names = nonces(60)
    await keep(keeper, path, names)
    said: dict[str, str] = {}
    for turn in range(rounds):
        async with binders(keeper, path, nodes) as processes:
            # Names of this round, and all that were said to be bound before.
            asked = names[turn * 60 // rounds : (turn + 1) * 60 // rounds] + list(said)
            for process in processes:
                process.ask(*asked)
            lines = await asyncio.gather(*(each.read_then_kill(random.randint(0, 14)) for each in processes))
        for line in (line for each in lines for line in each):
            nonce, _, bound = line.partition(" ")
            assert said.setdefault(nonce, bound) == bound, nonce
        records = keeper(path, KEY, FORMS, LIFETIMES)
        for nonce in asked:
            record = undecided_record(nonce=nonce)
            stored = await records.get(record.token(KEY), patient=False)
            assert stored is not None
            seen = stored.pin or await records.bind(record.token(KEY), pin_of(record, "afterwards"))
            assert said.setdefault(nonce, seen.name) == seen.name, nonce
        await records.close()
    return len(said)


@of_any_file_system
async def test_kill_9_of_nodes_that_bind(tmp_path: Path, nodes: Sequence[str]) -> None:
    assert await kill_in_a_loop(DirectoryRecords, tmp_path / "shared", nodes[1:3]) == 60
    await expire_all(tmp_path / "shared")


async def expire_all(path: Path) -> None:
    """Remove what kills have left, then all."""
    records = DirectoryRecords(path, KEY, FORMS, LIFETIMES, lambda: time.time() + 2 * record_files.LEFTOVER_AGE)
    await records.expire()
    await records.close()
    assert [each for each in path.rglob("*") if each.name.endswith(".tmp")] == []
    assert len(list(path.glob("*/*.pin"))) == 60
    records = DirectoryRecords(path, KEY, FORMS, LIFETIMES, lambda: time.time() + 2 * LIFETIME)
    assert await records.expire() == 60
    await records.close()
    assert list(path.glob("*/*")) == []


@pytest.mark.exfat
async def test_nodes_on_a_file_system_without_hard_links(tmp_path: Path) -> None:
    """A real one: what the other tests have it say and do is what it says and does."""
    with without_hard_links(tmp_path / "disk") as disk:
        (disk / "file").touch()
        with pytest.raises(PermissionError):
            (disk / "link").hardlink_to(disk / "file")
        await bind_at_once(disk / "shared", ALL)
        assert all(path.is_dir() for path in disk.glob("shared/*/*.pin"))
        assert await kill_in_a_loop(DirectoryRecords, disk / "killed", ALL[:2], rounds=2) == 60
        await expire_all(disk / "killed")


async def test_kill_9_of_a_node_that_binds_in_its_database(tmp_path: Path) -> None:
    assert await kill_in_a_loop(OpenedSqliteRecords, tmp_path / "records.sqlite", ["links"]) == 60
