"""Twenty different environments of nf-core solved at the same moment on sharded channels of the size of conda-forge and
bioconda (850,000 records, behind nginx), with nothing in any cache: seconds until the last is solved. wavelet's solver
process, which runs already, and relay with an empty store, against rattler itself with an empty cache: five rounds of
each in turn, the solutions are compared. And the CPU time of one solve, of daemon and solver process together, on
channels of the same size that are whole, whose indexes have to be asked for again but have not changed; beside that of
the first solve, which reads them: three rounds.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import conda_large
from field import Field
from report import Row, against, bounded
from rounds import alternate

import lab
from lab.http import answers
from lab.ports import free_port
from lab.processes import Background, LabError, run

ROUNDS = 5
READ_ROUNDS = 3
AT_ONCE = 20
AGAIN_MOST = 0.2
SECONDS = 300.0
_PROGRAM = Path(__file__).with_name("conda_solving.py")
_CHANNELS = ("conda-forge", "bioconda")
_NGINX = """
daemon off;
worker_processes 1;
pid {directory}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  sendfile on;
  keepalive_requests 1000000;
  server {{ listen 127.0.0.1:{port}; root {root}; }}
}}
"""


def measure(field: Field) -> list[Row]:
    """Return the seconds against rattler's, and what an unchanged index costs."""
    channels = conda_large.channels()
    with _served(field, channels / "sharded") as url:
        environments = conda_large.requests(AT_ONCE, url)
        rounds: dict[str, list[Any]] = alternate(
            ROUNDS,
            {way: partial(_solved, field, way, url, environments) for way in ("wavelet", "rattler")},
        )
    if any(mine["packages"] != other["packages"] for mine, other in zip(*rounds.values(), strict=True)):
        raise LabError("wavelet and rattler have other solutions")
    ours, theirs = ([each["seconds"] for each in rounds[way]] for way in ("wavelet", "rattler"))
    with _served(field, channels / "whole") as url:
        (environment,) = conda_large.requests(1, url)
        read = [_solved(field, "again", url, [environment]) for _ in range(READ_ROUNDS)]
    first = statistics.median(each["first"] for each in read)
    again = [each["again"] for each in read]
    return [
        against(f"conda, {AT_ONCE} solves at once on shards", "rattler", ours, theirs, "s", at_most=1.3),
        bounded("conda, an unchanged index, CPU of a solve", again, "s", AGAIN_MOST, f"the first: {first:.3g} s"),
    ]


def _solved(field: Field, way: str, url: str, environments: Sequence[Sequence[str]]) -> dict[str, Any]:
    directory = field.fresh("solve")
    directory.mkdir()
    os.sync()  # what earlier rounds have written is not this one's to wait for
    channels = [f"{url}/{name}" for name in _CHANNELS]
    command: list[str | Path] = [sys.executable, _PROGRAM, way, directory, json.dumps(channels)]
    paths = {"PYTHONPATH": str(Path(lab.__file__).parents[1])}
    printed = run([*command, json.dumps(environments)], environment=dict(os.environ) | paths, seconds=SECONDS).stdout
    shutil.rmtree(directory)
    return dict(json.loads(printed.splitlines()[-1]))


@contextmanager
def _served(field: Field, root: Path) -> Iterator[str]:
    directory, port = field.fresh("nginx"), free_port()
    directory.mkdir()
    (directory / "nginx.conf").write_text(_NGINX.format(directory=directory, port=port, root=root))
    command = ["nginx", "-c", str(directory / "nginx.conf"), "-p", str(directory)]
    process = Background(command, directory / "nginx.log", {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})
    url = f"http://127.0.0.1:{port}"
    try:
        process.wait_until(lambda: answers(f"{url}/conda-forge/noarch/"), 10.0)
        yield url
    finally:
        process.stop()
