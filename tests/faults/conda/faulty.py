"""Daemons that make images of conda packages, as a black box: what they answer, hold on disk, and have running."""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from lab import conda_asks, images, nextflow
from lab.conda_asks import ACCEPT, CHANNEL, CondaSite
from lab.conda_bad import bad_packages
from lab.conda_catalogue import many_packages
from lab.conda_channel import ChannelServer
from lab.conda_packages import Noise, Package, script, text
from lab.daemon import Daemon
from lab.http import Answer, request
from lab.processes import wait_for
from lab.registry import Registry

TINY_BASE = images.image([images.layer({"etc/lab": b"a base with nothing in it\n"})])
COUNT = 24
PARTS = [f"part{number:03}" for number in range(1, COUNT + 1)]
LARGEST = 2_000_000

WORKER = "spawn_main"
SOLVER = "wavelet.kinds.conda.solve.worker"
GONE_SECONDS = 10.0
FORGOTTEN_SECONDS = 8.0
"""After which a failure of an upstream is tried again, with something on top."""


def packages() -> list[Package]:
    """Return the channel's packages: parts of many sizes, `parts` that needs them all, and single ones."""
    alone = [Package(name, files={f"share/{name}": text(f"{name}\n")}) for name in ("one", "two", "three")]
    python = Package("python", "3.12.1", files={"bin/python3.12": script("#!/bin/sh\n")})
    heavy = Package("heavy", files={"share/heavy": Noise(15_000_000, 1)})
    large = [Package(f"large{n}", files={"share/large": Noise(4_000_000, 100 + n)}) for n in range(3)]
    return [*many_packages(COUNT, largest=LARGEST), *alone, *large, python, heavy]


StartNode = Callable[..., "Node"]
"""Starts a daemon: the name of its state directory, and settings as `Node` takes them."""


class Node:
    """A daemon on the tests' channel; the processes that it starts are known by a variable of their environment."""

    def __init__(self, state: Path, site: CondaSite, *, more: dict[str, Any] | None = None, **conda: Any) -> None:
        """Prepare it: `conda` are settings of that section, `more` other sections."""
        temporary = state.with_name(state.name + ".tmp")
        temporary.mkdir(parents=True, exist_ok=True)
        settings = site.settings(more=more, **{"repodata_ttl": 0, "workers": 1} | conda)
        self._mark = f"TMPDIR={temporary}".encode()
        self._site = site
        self.state = state
        self.daemon = Daemon(state, settings=settings, TMPDIR=temporary)

    def again(self, *, more: dict[str, Any]) -> Node:
        """Start it anew with other settings; it was stopped."""
        node = Node(self.state, self._site, more=more)
        node.daemon.start()
        return node

    # Asking

    def name(self, *specs: str, channels: tuple[str, ...] = (CHANNEL,)) -> str:
        """Ask for packages, and return the name by which engines pull the image."""
        return str(conda_asks.ask(self.daemon, *specs, channels=channels)["targetImage"])

    def pull(
        self, *specs: str, channels: tuple[str, ...] = (CHANNEL,), refresh: bool = False, seconds: float = 60
    ) -> Answer:
        """Ask for packages, and return the registry's answer to a pull, or the refusal of the request."""
        path = "/v1alpha2/container" + "?refresh=true" * refresh
        answer = conda_asks.post(self.daemon, *specs, channels=channels, path=path)
        if answer.status != 200:
            return answer
        path = nextflow.manifest_path(answer.json()["targetImage"])
        return request("GET", self.daemon.url + path, headers={"Accept": ACCEPT}, seconds=seconds)

    def pull_named(self, name: str) -> str:
        """Pull an image by a name that some node has given; return the digest of its manifest."""
        return conda_asks.digest(self.daemon, name)

    def digest(self, *specs: str, channels: tuple[str, ...] = (CHANNEL,)) -> str:
        """Ask for packages, pull all of the image and verify it; return its digest."""
        name = self.name(*specs, channels=channels)
        document = conda_asks.manifest(self.daemon, name)
        conda_asks.layers(self.daemon, name, document)
        return conda_asks.digest(self.daemon, name)

    def log_of_making(self, *specs: str) -> str:
        """Return the log of the build that a request for packages names."""
        return conda_asks.build_log(self.daemon, str(conda_asks.ask(self.daemon, *specs)["buildId"]))

    # What it holds and runs

    def check_files(self) -> int:
        """Check that every blob in its place is whole; return how many there are."""
        files = [path for path in (self.state / "blobs").glob("*/*/*") if path.is_file()]
        for path in files:
            assert hashlib.new(path.parent.parent.name, path.read_bytes()).hexdigest() == path.name
        return len(files)

    def leftovers(self) -> list[Path]:
        """Return what lies in the directory of unfinished files."""
        return list((self.state / "partial").iterdir())

    def settle(self) -> None:
        """Return once nothing unfinished is left; what was begun with others goes on when one of them fails."""
        self.daemon.settle()

    def is_making(self) -> bool:
        """Tell whether a worker writes a layer."""
        return self.daemon.is_making()

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Return what a query of the node's database gives."""
        with contextlib.closing(sqlite3.connect(self.state / "node.db", timeout=10)) as database:
            return database.execute(query).fetchall()

    def processes(self, part: str = "") -> list[int]:
        """Return the ids of all processes of this daemon whose command has `part` in it, also when it is dead."""
        found = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
        own = [self.daemon.pid] if self.daemon.running() and not part else []
        return own + [pid for pid in found if self._owns(pid, part.encode()) and pid not in own]

    def _owns(self, pid: int, part: bytes) -> bool:
        try:
            if part not in Path(f"/proc/{pid}/cmdline").read_bytes():
                return False
            return self._mark in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            return False

    def wait_until_gone(self) -> None:
        """Return once no process of the daemon is left."""
        wait_for(lambda: not self.processes(), "the end of its processes", GONE_SECONDS)


class Waits:
    """A daemon that waits for what never comes: for a package to be mended, and for a transfer to go on."""

    def __init__(self, directory: Path, registry: Registry, base: str, channel: Path) -> None:
        """Begin to ask."""
        bad_packages(directory / "bad")
        self.server = ChannelServer({CHANNEL: channel, "bad": directory / "bad"})
        self._threads = ThreadPoolExecutor(2)
        self.server.__enter__()
        self.server.fault("/part001-", stall=300_000, times=1)
        self._node = Node(directory / "state", CondaSite(registry, self.server, base))
        self._node.daemon.start()
        answer = conda_asks.ask(self._node.daemon, "bad-zstd", channels=("bad",))
        self._build = str(answer["buildId"])
        self.refused = self._threads.submit(conda_asks.done, self._node.daemon, answer["requestId"], 60)
        self.stalled = self._threads.submit(self._node.pull, "part001")

    def log_of_refused(self) -> str:
        """Return the log of the build of the bad package."""
        return conda_asks.build_log(self._node.daemon, self._build)

    def close(self) -> None:
        """End all of it, decided or not."""
        self._node.daemon.stop()
        self._threads.shutdown()
        self.server.__exit__()


def eventually(ask: Callable[[], Answer], seconds: float = FORGOTTEN_SECONDS) -> Answer:
    """Return the first answer that is a success, or the last one before a failure has to be forgotten."""
    limit = time.monotonic() + seconds
    while (answer := ask()).status != 200 and time.monotonic() < limit:
        time.sleep(0.3)
    return answer


def at_once(work: Any, *arguments: Any) -> list[Any]:
    """Return what `work` gives for each argument, asked for at the same time."""
    with ThreadPoolExecutor(len(arguments)) as threads:
        return list(threads.map(work, arguments))
