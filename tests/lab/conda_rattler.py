"""A program that asks rattler, in a process of its own: a job as JSON on standard input, its answer on standard output.

Jobs: `index`, `solve`, `install`; see conda_channel.py and conda_oracle.py, which start it.
"""

from __future__ import annotations

import asyncio
import datetime
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from rattler import (
    Gateway,
    GenericVirtualPackage,
    MatchSpec,
    PackageName,
    RepoDataRecord,
    Subdir,
    Version,
    install,
    solve,
)
from rattler.index import index_fs
from rattler.package import BuildString


async def _index(job: dict[str, Any]) -> None:
    await index_fs(job["directory"], force=True)


async def _solve(job: dict[str, Any]) -> list[str]:
    virtual = [
        GenericVirtualPackage(PackageName(name), Version(version), BuildString(build))
        for name, version, build in job["virtual"]
    ]
    as_of = datetime.datetime.fromisoformat(job["as_of"]) if job["as_of"] else None
    with tempfile.TemporaryDirectory() as cache:
        found = await solve(
            job["channels"],
            [MatchSpec(spec) for spec in job["specs"]],
            gateway=Gateway(cache_dir=Path(cache)),
            platforms=[job["platform"], "noarch"],
            virtual_packages=virtual,
            exclude_newer=as_of,
        )
    return sorted(record.url for record in found)


async def _install(job: dict[str, Any]) -> None:
    for target, archives in job["archives"].items():
        await install(
            [await RepoDataRecord.from_package_archive(path) for path in archives],
            target_prefix=target,
            cache_dir=job["cache"],
            platform=Subdir(job["platform"]),
            alternative_target_prefix=job["prefix"],
            execute_link_scripts=False,
            show_progress=False,
        )


if __name__ == "__main__":
    _job = json.load(sys.stdin)
    print(
        json.dumps(asyncio.run({"index": _index, "solve": _solve, "install": _install}[_job["do"]](_job))), flush=True
    )
    # Threads of rattler may still run and abort an interpreter that is on its way out.
    os._exit(0)
