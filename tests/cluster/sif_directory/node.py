"""A node in a process of its own: `python -m cluster.sif_directory.node DIRECTORY NUMBER SECONDS [UID]`.

It has a file there which takes some seconds to make, and prints `making` when it begins, and then the path and whether
this process has written it. With a uid, the file is that user's alone; `none` is printed where it cannot be.

With `SQUASHED` in its environment it takes itself for root, as a root daemon does of which the file server makes
somebody else.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import structlog

from cluster.sif_directory.places import Patience, contents, name, opened
from wavelet.cluster.sif_directory.directory import Contents
from wavelet.config import ConfigError
from wavelet.plan.tokens import Principal

PIECES = [b"made" * 250_000] * 20


async def main(root: str, number: str, seconds: str, *uid: str) -> None:
    directory = opened(Path(root), patience=Patience(beat=0.2, poll=0.05, wait=60.0))
    file = await directory.file(name(int(number)), Principal(*map(int, uid)))
    if file is None:
        print("none", flush=True)
        return

    async def make() -> Contents:
        print("making", flush=True)
        await asyncio.sleep(float(seconds))
        return contents(*PIECES)

    print(file.path, await file.ensure(make), flush=True)


if __name__ == "__main__":
    if "SQUASHED" in os.environ:
        os.geteuid = lambda: 0
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    try:
        asyncio.run(main(*sys.argv[1:]))
    except ConfigError as error:
        sys.exit(error.message)
