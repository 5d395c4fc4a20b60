"""A program that solves environments and says how long that took, as JSON.

Arguments: `rattler`, `wavelet` or `again`, an empty directory, the channels' URLs and the environments' specs, both as
JSON. The first two solve all environments at once: rattler with one gateway and its cache in the directory; wavelet by
its solver process and relay, with a store there. The clock starts when rattler is imported and wavelet's solver process
has answered an empty request. The third solves the first environment by wavelet twice, one after the other, with
indexes that are asked for again each time, and says the CPU time of each.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from field import cpu_seconds
from rattler import ChannelPriority, Gateway, GenericVirtualPackage, MatchSpec, PackageName, Version, solve
from rattler.package.build_string import BuildString

from wavelet import logs
from wavelet.app import GARBAGE_THRESHOLDS
from wavelet.config import Settings
from wavelet.config.settings import Conda, Store
from wavelet.kinds.conda.channels import relay as relays
from wavelet.kinds.conda.channels.client import Channels
from wavelet.kinds.conda.solve.solver import Question, Solver
from wavelet.store import content
from wavelet.store.database import Database

SUBDIR = "linux-64"
VIRTUAL = (("__glibc", "2.39", "0"), ("__linux", "6.8", "0"), ("__unix", "0", "0"), ("__archspec", "1", "x86_64"))

Found = dict[str, Any]


async def _rattler(directory: Path, channels: list[str], environments: list[list[str]]) -> Found:
    gateway = Gateway(cache_dir=directory)
    virtual = [GenericVirtualPackage(PackageName(n), Version(v), BuildString(b)) for n, v, b in VIRTUAL]

    async def one(specs: list[str]) -> list[str]:
        found = await solve(
            channels,
            [MatchSpec(spec) for spec in specs],
            gateway=gateway,
            platforms=[SUBDIR, "noarch"],  # type: ignore[list-item]
            virtual_packages=virtual,
            channel_priority=ChannelPriority.Strict,
        )
        return sorted(record.url for record in found)

    started = time.monotonic()
    solutions = await asyncio.gather(*map(one, environments))
    return {"seconds": time.monotonic() - started, "packages": solutions}


@asynccontextmanager
async def _solver(directory: Path, ttl: float) -> AsyncIterator[Solver]:
    logs.setup_logging("text", "warning")
    async with AsyncExitStack() as stack:
        settings = Settings(store=Store(limit=10**10), conda=Conda(repodata_ttl=ttl))
        found = await stack.enter_async_context(Channels(settings))
        database = Database(directory / "node.db", content.SCHEMA + relays.SCHEMA, synchronous="NORMAL")
        stack.callback(database.close)
        store = content.ContentStore(directory, database, settings)
        stack.push_async_callback(store.close)
        relay = relays.Relay(found, store, database, settings)
        await relay.start()
        stack.push_async_callback(relay.close)
        solver = Solver(directory / "solver", settings, mirror=relay.url_for, generations=relay.generations.of)
        stack.push_async_callback(solver.close)
        yield solver


async def _wavelet(directory: Path, channels: list[str], environments: list[list[str]]) -> Found:
    async with _solver(directory, 300) as solver:
        await solver.solve(Question((), (), SUBDIR, ()))
        gc.freeze()
        gc.set_threshold(*GARBAGE_THRESHOLDS)
        questions = [Question(tuple(specs), tuple(channels), SUBDIR, VIRTUAL) for specs in environments]
        started = time.monotonic()
        answers = await asyncio.gather(*map(solver.solve, questions))
        seconds = time.monotonic() - started
    return {"seconds": seconds, "packages": [sorted(record.url for record in answer) for answer in answers]}


async def _again(directory: Path, channels: list[str], environments: list[list[str]]) -> Found:
    async with _solver(directory, 0) as solver:
        question = Question(tuple(environments[0]), tuple(channels), SUBDIR, VIRTUAL)
        took: list[float] = []
        for _ in range(2):
            before = _cpu(solver)
            await solver.solve(question)
            took.append(_cpu(solver) - before)
    return {"first": took[0], "again": took[1]}


def _cpu(solver: Solver) -> float:
    process = solver._process
    return time.process_time() + (0.0 if process is None else cpu_seconds(process.process.pid))


_WAYS: dict[str, Callable[[Path, list[str], list[list[str]]], Any]] = {
    "rattler": _rattler,
    "wavelet": _wavelet,
    "again": _again,
}

if __name__ == "__main__":
    _way, _directory, _channels, _environments = sys.argv[1:]
    print(
        json.dumps(asyncio.run(_WAYS[_way](Path(_directory), json.loads(_channels), json.loads(_environments)))),
        flush=True,
    )
    # Threads of rattler may still run and abort an interpreter that is on its way out.
    os._exit(0)
