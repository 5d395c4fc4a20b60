"""A program that installs an environment by rattler from a channel and says how long that took, as JSON.

Arguments: the channel's URL, the prefix to stage in, an empty cache, and the environment's specs. What was solved is
loaded before the clock starts: only fetching and linking count, and no start of a process.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from pathlib import Path

from rattler import Gateway, MatchSpec, Subdir, VirtualPackage, install, solve

PLATFORM = "linux-64"


async def _install(channel: str, prefix: str, cache: str, specs: list[str]) -> dict[str, float]:
    records = await solve(
        [channel],
        [MatchSpec(spec) for spec in specs],
        gateway=Gateway(cache_dir=Path(cache) / "repodata"),
        platforms=[PLATFORM, "noarch"],
        virtual_packages=VirtualPackage.detect(),
    )
    started = time.monotonic()
    await install(
        records,
        target_prefix=prefix,
        cache_dir=cache,
        platform=Subdir(PLATFORM),
        alternative_target_prefix="/opt/conda",
        execute_link_scripts=False,
        show_progress=False,
    )
    seconds = time.monotonic() - started
    return {"packages": len(records), "seconds": seconds, "peak": _peak()}


def _peak() -> float:
    """Return megabytes; `ru_maxrss` would be those of whoever started this process, where these are more."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1000


if __name__ == "__main__":
    _channel, _prefix, _cache, *_specs = sys.argv[1:]
    print(json.dumps(asyncio.run(_install(_channel, _prefix, _cache, _specs))), flush=True)
    # Threads of rattler may still run and abort an interpreter that is on its way out.
    os._exit(0)
