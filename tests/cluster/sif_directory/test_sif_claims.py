"""One of all nodes makes a file: races, holders that are killed or hang, and claims that nobody can read."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from cluster.sif_directory.node import PIECES
from cluster.sif_directory.places import SHORT, Maker, contents, file_of, left, name, opened
from wavelet.cluster.sif_directory import claim_files
from wavelet.cluster.sif_directory.claim_files import Holder, written_name
from wavelet.cluster.sif_directory.directory import Contents
from wavelet.cluster.sif_directory.tree import Tree, prepare
from wavelet.errors import DirectoryUnavailable, WaitExpired

TESTS = Path(__file__).parents[2]
CLAIM = name().file
ELSEWHERE = Holder("a" * 32, "node7", "another kernel", 1, "1")


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return prepare(tmp_path / "sif")


async def start(root: Path, number: int, seconds: float) -> asyncio.subprocess.Process:
    environment = os.environ | {"PYTHONPATH": f"{TESTS}:{TESTS.parent / 'daemon'}"}
    arguments = ["-m", "cluster.sif_directory.node", str(root), str(number), str(seconds)]
    return await asyncio.create_subprocess_exec(
        sys.executable, *arguments, env=environment, stdout=asyncio.subprocess.PIPE
    )


async def said(process: asyncio.subprocess.Process) -> list[str]:
    output, _ = await asyncio.wait_for(process.communicate(), 60)
    return output.decode().splitlines()


def abandoned(tree: Tree, holder: Holder, age: float = 0.0) -> None:
    """Leave a claim, with something written, as a node does that dies."""
    assert claim_files.take(tree, CLAIM, holder) is None
    claim, written = (tree.root / ".wavelet" / each for each in (f"{CLAIM}.claim", written_name(CLAIM, holder)))
    written.write_bytes(b"half")
    for path in (claim, written):
        os.utime(path, (time.time() - age,) * 2)


@pytest.mark.process
async def test_of_several_processes_one_makes_it(tmp_path: Path) -> None:
    root = tmp_path / "sif"
    nodes = [await start(root, 1, 0.5) for _ in range(4)]
    lines = [await said(node) for node in nodes]
    path = str(root / name().file)
    assert sorted(lines) == [[f"{path} False"]] * 3 + [["making", f"{path} True"]]
    assert left(root) == []


@pytest.mark.process
async def test_a_killed_holder_is_replaced_at_once_on_his_node(tmp_path: Path) -> None:
    root = tmp_path / "sif"
    node = await start(root, 1, 60)
    assert node.stdout is not None
    assert await node.stdout.readline() == b"making\n"
    node.send_signal(signal.SIGKILL)
    assert len(left(root)) == 1
    begun = time.monotonic()
    # With an hour until a claim is stale it is the kernel that tells.
    other = opened(root, patience=replace(SHORT, stale=3600, observed=3600))
    assert await (await file_of(other)).ensure(Maker())
    assert time.monotonic() - begun < 20
    assert left(root) == []
    await node.wait()


@pytest.mark.process
async def test_what_a_killed_process_left_goes_at_the_start(tmp_path: Path) -> None:
    root = tmp_path / "sif"
    node = await start(root, 1, 60)
    assert node.stdout is not None
    await node.stdout.readline()
    node.kill()
    await node.wait()
    tree = prepare(root)
    holder = msgspec.json.decode((root / ".wavelet" / f"{CLAIM}.claim").read_bytes(), type=Holder)
    (root / ".wavelet" / written_name(CLAIM, holder)).write_bytes(b"half")
    claim_files.sweep(tree)
    assert left(root) == []


@pytest.mark.process
async def test_killed_at_any_moment_nodes_leave_whole_files_or_none(tmp_path: Path) -> None:
    root = tmp_path / "sif"
    for number in range(4):
        nodes = [await start(root, number, 0) for _ in range(2)]
        begun = [asyncio.ensure_future(node.stdout.readline()) for node in nodes if node.stdout is not None]
        await asyncio.wait(begun, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.sleep(random.uniform(0, 0.06))
        for node in nodes:
            with contextlib.suppress(ProcessLookupError):
                node.kill()
            await node.wait()
        await asyncio.gather(*begun)
        was_there = (root / name(number).file).exists()
        assert await (await file_of(opened(root), number)).ensure(Maker(b"".join(PIECES))) is not was_there
        assert (root / name(number).file).read_bytes() == b"".join(PIECES)
    claim_files.sweep(prepare(root))
    assert left(root) == []


async def test_a_dead_node_is_replaced_when_its_claim_does_not_move(tree: Tree) -> None:
    abandoned(tree, ELSEWHERE)
    begun = time.monotonic()
    maker = Maker()
    assert await (await file_of(opened(tree.root))).ensure(maker)
    assert time.monotonic() - begun >= SHORT.stale * 0.9
    assert maker.calls == 1
    assert left(tree.root) == []


async def test_an_old_claim_is_watched_for_a_while_only(tree: Tree) -> None:
    """The file server's clock says how old it is; that it does not move is seen all the same."""
    abandoned(tree, ELSEWHERE, age=500)
    begun = time.monotonic()
    assert await (await file_of(opened(tree.root, patience=replace(SHORT, stale=60)))).ensure(Maker())
    assert SHORT.observed * 0.9 <= time.monotonic() - begun < 20


async def test_a_holder_whose_clock_is_behind_is_left_alone_while_he_lives(tree: Tree) -> None:
    """On file systems where the nodes' own clocks give files their times."""
    abandoned(tree, ELSEWHERE, age=5000)
    claim = tree.root / ".wavelet" / f"{CLAIM}.claim"
    other = await file_of(opened(tree.root))
    waiting = asyncio.create_task(other.ensure(Maker()))
    for beat in range(30):
        os.utime(claim, (time.time() - 5000 + beat,) * 2)
        await asyncio.sleep(0.05)
    assert not waiting.done()
    other.path.write_bytes(b"made there")
    assert not await waiting


async def test_a_live_holder_is_waited_for_however_long_it_takes(tree: Tree) -> None:
    one, other = await file_of(opened(tree.root)), await file_of(opened(tree.root))
    maker, end = Maker(), asyncio.Event()

    async def slow() -> Contents:
        await end.wait()
        return contents(b"sif")

    holding = asyncio.create_task(one.ensure(slow))
    await asyncio.sleep(0.1)
    waiting = asyncio.create_task(other.ensure(maker))
    await asyncio.sleep(3 * SHORT.stale)
    end.set()
    assert (await holding, await waiting, maker.calls) == (True, False, 0)


async def test_who_waits_gives_up_in_the_end(tree: Tree) -> None:
    abandoned(tree, ELSEWHERE)
    waiting = opened(tree.root, patience=replace(SHORT, stale=60, observed=60, wait=0.2))
    with pytest.raises(WaitExpired, match="node7 has been making"):
        await (await file_of(waiting)).ensure(Maker())


async def test_of_several_who_take_over_one_makes_it(tree: Tree) -> None:
    # On a machine with much to do, whoever has taken over may not show for a second that he lives.
    patient = replace(SHORT, stale=5.0, observed=1.0)
    for _ in range(2):
        (tree.root / CLAIM).unlink(missing_ok=True)
        abandoned(tree, ELSEWHERE, age=2 * patient.stale)
        maker = Maker(before=lambda: time.sleep(0.02))
        files = [await file_of(opened(tree.root, patience=patient)) for _ in range(8)]
        made = await asyncio.gather(*(file.ensure(maker) for file in files))
        assert (sum(made), maker.calls) == (1, 1)
        assert left(tree.root) == []


def test_a_claim_that_is_given_back_while_it_is_looked_at_is_taken(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    first, mine = Holder.this_process(), Holder.this_process()
    assert claim_files.take(tree, CLAIM, first) is None

    def given_back(claim: str, work: int) -> claim_files.Standing | None:
        monkeypatch.undo()
        claim_files.release(tree, CLAIM, first)
        return claim_files._look(claim, work)

    monkeypatch.setattr(claim_files, "_look", given_back)
    assert claim_files.take(tree, CLAIM, mine) is None
    assert claim_files.keep(tree, CLAIM, mine)


async def test_who_comes_late_to_take_over_does_not_hit_who_was_first(tree: Tree) -> None:
    mine = Holder.this_process()
    assert claim_files.take(tree, CLAIM, mine) is None
    assert not claim_files.take_away(tree, CLAIM, ELSEWHERE)
    assert claim_files.keep(tree, CLAIM, mine)
    assert left(tree.root) == [f"{CLAIM}.claim"]


async def test_who_dies_while_he_takes_over_is_in_the_way_for_a_while_only(tree: Tree) -> None:
    abandoned(tree, ELSEWHERE)
    taking = tree.root / ".wavelet" / f"{CLAIM}.{ELSEWHERE.id}.taken.tmp"
    taking.touch()
    assert not claim_files.take_away(tree, CLAIM, ELSEWHERE)
    assert taking.exists()
    os.utime(taking, (time.time() - claim_files.TAKING_AGE - 10,) * 2)
    assert not claim_files.take_away(tree, CLAIM, ELSEWHERE)
    assert claim_files.take_away(tree, CLAIM, ELSEWHERE)
    assert left(tree.root) == []


async def test_a_holder_who_hung_and_was_replaced_says_so_and_spoils_nothing(tree: Tree) -> None:
    file = await file_of(opened(tree.root, patience=replace(SHORT, beat=60)))
    other = await file_of(opened(tree.root))
    taken = asyncio.Event()

    async def hang() -> Contents:
        assert await other.ensure(Maker(b"the other's"))
        taken.set()
        return contents(b"mine")

    # The other one is of this process, which lives: its claim goes stale since it does not move.
    assert await file.ensure(hang)
    assert taken.is_set()
    assert file.path.read_bytes() == b"mine"
    assert left(tree.root) == []


async def test_what_is_written_may_be_taken_away(tree: Tree) -> None:
    file = await file_of(opened(tree.root))
    written = tree.root / ".wavelet"

    async def make() -> Contents:
        return contents(b"a", b"b")

    async def remove_it() -> None:
        while not (found := list(written.glob("*.tmp"))):
            await asyncio.sleep(0)
        found[0].unlink()

    removing = asyncio.create_task(remove_it())
    with pytest.raises(DirectoryUnavailable, match="another node has taken over"):
        await file.ensure(make)
    await removing
    assert not file.path.exists()
    assert left(tree.root) == []


@pytest.mark.parametrize("content", [b"", b"{}", b"[1", b"\xff" * 10_000])
async def test_a_claim_that_cannot_be_read_goes_stale_like_any(tree: Tree, content: bytes) -> None:
    (tree.root / ".wavelet" / f"{CLAIM}.claim").write_bytes(content)
    assert await (await file_of(opened(tree.root))).ensure(Maker())
    assert left(tree.root) == []


async def test_leftovers_go_and_what_is_being_written_stays(tree: Tree) -> None:
    work = tree.root / ".wavelet"
    abandoned(tree, ELSEWHERE)
    long_ago = (time.time() - claim_files.LEFTOVER_AGE - 100,) * 2
    os.utime(work / written_name(CLAIM, ELSEWHERE), long_ago)  # a slow step: its claim moves
    for old in ("old.tmp", "young.tmp"):
        (work / old).touch()
    os.utime(work / "old.tmp", long_ago)
    claim_files.sweep(tree)
    assert left(tree.root) == sorted([f"{CLAIM}.claim", written_name(CLAIM, ELSEWHERE), "young.tmp"])
    os.utime(work / f"{CLAIM}.claim", long_ago)
    claim_files.sweep(tree)
    assert left(tree.root) == ["young.tmp"]
