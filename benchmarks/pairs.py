"""Measures this wavelet beside another version of it: what a POST and a manifest cost.

    python benchmarks/pairs.py OTHER [ROUNDS]    OTHER: the `python` of an environment that has the other version

Both run on this machine over one registry. Requests go to one and the other in turn, so that whatever else the machine
does hits both alike. A round is a hundred requests to each; a ratio is this version's median, or CPU time, to the
other's, the median of the rounds' ratios with the least and the greatest.
"""

from __future__ import annotations

import http.client
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from field import Distribution, raw_layer
from report import Row, against, machine, table

from lab import conda_asks, images, nextflow, task_image, zygote
from lab.conda_asks import CHANNEL, CondaSite
from lab.conda_channel import ChannelServer, make_channel
from lab.conda_index import repodata
from lab.conda_packages import File, Package
from lab.daemon import Daemon
from lab.processes import LabError

ROUNDS = 15
REQUESTS = 100
"""Of each kind to each version in a round."""

LOCKED = 150
"""Packages of the lock."""

LOCK_SECONDS = 300.0
WARM = 20

Ask = tuple[str, str, bytes]
"""Method, path and body."""


@dataclass(frozen=True)
class Site:
    """A registry with an image, and a lock of many packages."""

    directory: Path
    conda: CondaSite
    image: str
    lock: str


@contextmanager
def opened(directory: Path) -> Iterator[Site]:
    """Run the servers that both daemons use."""
    channel = directory / "channel"
    made = [Package(f"part{n:03}", "1.0", files={f"share/part{n}": File(b"%d\n" % n)}) for n in range(LOCKED)]
    make_channel(channel, made)
    registry = Distribution(directory / "registry")
    registry.start()
    try:
        registry.push("bench/tool", "1", images.image([raw_layer(200_000, seed=1)]))
        base = registry.push("lab/task", "1", task_image.task_image())
        with ChannelServer({CHANNEL: channel}) as server:
            records = repodata(channel, "linux-64")["packages.conda"]
            urls = (f"{server.channel(CHANNEL)}/linux-64/{name}#sha256:{r['sha256']}" for name, r in records.items())
            lock = "\n".join(["@EXPLICIT", *urls, ""])
            yield Site(directory, CondaSite(registry, server, base), f"{registry.host}/bench/tool:1", lock)
    finally:
        registry.stop()


class Asked:
    """One version of wavelet, and a connection to it."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        self._connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=LOCK_SECONDS)

    def ask(self, ask: Ask) -> tuple[float, bytes]:
        """Send a request; return the milliseconds until its answer was there, and the answer."""
        method, path, body = ask
        headers = {"Content-Type": "application/json"} if body else {"Accept": ", ".join(images.MANIFEST_TYPES)}
        started = time.perf_counter()
        self._connection.request(method, path, body or None, headers)
        answer = self._connection.getresponse()
        content = answer.read()
        taken = time.perf_counter() - started
        if answer.status != 200:
            raise LabError(f"{method} {path}: {answer.status} {content!r}")
        return 1000 * taken, content

    def cpu(self) -> float:
        """Return the milliseconds of CPU time that its process has had."""
        tasks = Path(f"/proc/{self.daemon.pid}/task").glob("*/schedstat")
        return sum(int(path.read_text().split()[0]) for path in tasks) / 1e6


def measure(site: Site, versions: dict[str, Asked], rounds: int) -> list[Row]:
    """Return the rows of all measures."""
    layer = images.layer({"usr/local/bin/tool": b"#!/bin/sh\n"}, executable=["usr/local/bin/tool"]).in_request()
    known = _post(containerImage=site.image, config={"layers": [layer]})
    locked = _post(packages=conda_asks.packages(environment=site.lock))
    pulled = {}
    for name, version in versions.items():
        pulled[name] = "GET", nextflow.manifest_path(json.loads(version.ask(known)[1])["targetImage"]), b""
        token = json.loads(version.ask(locked)[1])["requestId"]
        if not conda_asks.done(version.daemon, token, LOCK_SECONDS)["succeeded"]:
            raise LabError("the image of the lock was not made")

    def new(_: str, number: int) -> Ask:
        return _post(containerImage=site.image, config={"layers": [layer], "env": [f"N={number}"]})

    return [
        *_compare("POST, a request known", versions, rounds, lambda _, __: known),
        *_compare("POST, a new request", versions, rounds, new),
        *_compare(f"POST, a lock of {LOCKED} packages known", versions, rounds, lambda _, __: locked),
        *_compare("manifest by name", versions, rounds, lambda name, _: pulled[name]),
    ]


def _post(**members: Any) -> Ask:
    return "POST", "/v1alpha2/container", json.dumps(nextflow.body(**members)).encode()


def _compare(measure: str, versions: dict[str, Asked], rounds: int, ask: Callable[[str, int], Ask]) -> list[Row]:
    times: dict[str, list[float]] = {name: [] for name in versions}
    costs: dict[str, list[float]] = {name: [] for name in versions}
    for number in range(WARM):
        for name, version in versions.items():
            version.ask(ask(name, -1 - number))
    for number in range(rounds):
        before = {name: version.cpu() for name, version in versions.items()}
        taken: dict[str, list[float]] = {name: [] for name in versions}
        for each in range(REQUESTS):
            for name in sorted(versions, reverse=each % 2 == 0):
                taken[name].append(versions[name].ask(ask(name, number * REQUESTS + each))[0])
        for name, version in versions.items():
            times[name].append(statistics.median(taken[name]))
            costs[name].append((version.cpu() - before[name]) / REQUESTS)
    rows = [
        against(f"{measure}, p50", "other", times["this"], times["other"], "ms", at_most=1.1),
        against(f"{measure}, CPU each", "other", costs["this"], costs["other"], "ms", at_most=1.1),
    ]
    print(table(rows), flush=True)
    return rows


def main() -> None:
    """Run all measures and print the table."""
    other, rounds = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else ROUNDS
    zygote.COUNT = 0
    with tempfile.TemporaryDirectory(prefix="wavelet-bench-") as place, ExitStack() as stack:
        directory = Path(place)
        site = stack.enter_context(opened(directory))
        versions = {}
        for name, python in (("this", sys.executable), ("other", other)):
            program = (python, "-m", "wavelet.cli.main")
            daemon = Daemon(directory / name, settings=site.conda.settings(), program=program)
            daemon.start()
            stack.callback(daemon.stop)
            versions[name] = Asked(daemon)
        rows = measure(site, versions, rounds)
        print("\n".join(f"- {line}" for line in machine()), table(rows), sep="\n\n")


if __name__ == "__main__":
    main()
