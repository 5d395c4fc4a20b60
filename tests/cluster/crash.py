"""Kill writers at arbitrary moments; what they said is kept has to be there."""

import asyncio
import os
import random
import sys
from pathlib import Path

from cluster.keepers import Keeper
from cluster.suite import KEY, LIFETIMES, layer_record
from wavelet.kinds.table import FORMS

TESTS = Path(__file__).parent.parent


async def start_writer(keeper: type[Keeper], path: Path, start: int) -> asyncio.subprocess.Process:
    arguments = [keeper.__module__, keeper.__name__, str(path), str(start)]
    environment = os.environ | {"PYTHONPATH": f"{TESTS}:{TESTS.parent / 'daemon'}"}
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "cluster.writer", *arguments, env=environment, stdout=asyncio.subprocess.PIPE
    )


async def read_then_kill(process: asyncio.subprocess.Process, lines: int) -> list[tuple[str, int]]:
    assert process.stdout is not None
    said = [(await process.stdout.readline()).decode() for _ in range(lines)]
    process.kill()
    said += (await process.stdout.read()).decode().splitlines(keepends=True)
    await process.wait()
    return [(token, int(number)) for token, number in (line.split() for line in said if line.endswith("\n"))]


async def kill_in_a_loop(keeper: type[Keeper], path: Path, *, writers: int, rounds: int = 4) -> int:
    """Return how many records were found again; each must be."""
    found = 0
    for turn in range(rounds):
        # Two writers have half of their requests in common.
        processes = [await start_writer(keeper, path, turn * 100_000 + each * 40) for each in range(writers)]
        said = await asyncio.gather(*(read_then_kill(process, random.randint(1, 120)) for process in processes))
        records = keeper(path, KEY, FORMS, LIFETIMES)
        for token, number in {pair for pairs in said for pair in pairs}:
            record, digest = layer_record(b"%d" % number * 1000)
            stored = await records.get(token)
            assert stored is not None, f"{token} is lost"
            assert stored.record == record
            assert await records.inline(token, digest) == b"%d" % number * 1000
            found += 1
        await records.close()
    return found
