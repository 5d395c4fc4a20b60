"""Sets of post-link scripts on one base of some 150 MB, run in a user namespace: CPU of the daemon and of all below it,
and seconds until there is a manifest, for the first set on the base and for other sets after it.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

from conda_site import Site, ask
from field import Field
from report import Row, bounded

from lab import images, task_image
from lab.conda_channel import ChannelServer, make_channel
from lab.conda_packages import Package, script
from lab.daemon import Daemon

BASE_BYTES = 150_000_000
BASE_FILES = 5_000
SETS = 4
CHANNEL = "scripted"
_TICKS = os.sysconf("SC_CLK_TCK")


def measure(field: Field) -> list[Row]:
    """Return the times of the first set, and of those after it."""
    packages = [_package(number) for number in range(SETS)]
    base = field.registry.push("lab/large", "1", images.image([task_image.task_layer(), _filler()], env=["PATH=/bin"]))
    with ChannelServer({CHANNEL: make_channel(field.fresh("scripted"), packages)}) as server:
        settings = Site(field, server, base).settings(engine="namespace")
        daemon = Daemon(field.fresh("conda"), settings=settings)
        daemon.start()
        try:
            taken = [_set(daemon, package.name) for package in packages]
        finally:
            daemon.stop()
    first, others = taken[0], taken[1:]
    return [
        Row("post-link scripts, first set on a base", f"{first[0]:.2f} s of CPU, {first[1]:.2f} s"),
        bounded("post-link scripts, further sets: CPU", [cpu for cpu, _ in others], "s", 1.0),
        bounded("post-link scripts, further sets: to the manifest", [seconds for _, seconds in others], "s", 2.0),
    ]


def _package(number: int) -> Package:
    name = f"scripted{number}"
    link = f'#!/bin/bash\necho {number} > "$PREFIX/share/made-by-{name}"\n'
    return Package(name, files={f"bin/.{name}-post-link.sh": script(link), f"share/{name}": script("1\n")})


def _filler() -> images.Layer:
    """Return a layer of files as systems have them: many small ones, compressible by half."""
    dice = random.Random(1)
    size = BASE_BYTES // BASE_FILES
    noise = dice.randbytes(size // 2)
    return images.layer(
        {
            f"usr/share/filler/{number % 200}/{number}": number.to_bytes(4, "big") + noise + bytes(size // 2)
            for number in range(BASE_FILES)
        }
    )


def _set(daemon: Daemon, name: str) -> tuple[float, float]:
    before = _cpu(daemon.pid)
    asked = ask(daemon, name, channel=CHANNEL)
    return _cpu(daemon.pid) - before, asked.seconds


def _cpu(pid: int) -> float:
    """Return the seconds of CPU of a process, of those that it has waited for, and of all below it."""
    return sum(_own(each) for each in (pid, *_below(pid)))


def _own(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / _TICKS


def _below(pid: int) -> Iterator[int]:
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            yield int(child)
            yield from _below(int(child))
