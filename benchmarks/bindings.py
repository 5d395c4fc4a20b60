"""What the binding of a name costs, on this machine's disk and on a stand-in for a network file system (FUSE on the
same disk, where each call takes 0.5 ms more; `round_trips.py`): binding a name that has a record, by a hard link and in
the form for file systems without any, and reading record and binding on a node that has seen neither. Beside it what
the file system takes from plain Python: a file written, fsynced, linked and unlinked aside, its directory fsynced; two
files opened and read. Five rounds of 40 names; and the calls that each makes, which are the same on a busy machine. And
the first pull of a name, with a manifest that is there: one that is bound by that pull beside one that was decided when
it was given, 60 of each in turn.
"""

from __future__ import annotations

import asyncio
import errno
import http.client
import os
import secrets
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from unittest import mock

from field import Field
from report import Row, against

from lab import images, nextflow
from lab.daemon import Daemon
from lab.processes import Background, LabError
from wavelet.cluster.key import KEY_NAME, load_key
from wavelet.cluster.records import Lifetimes, Record
from wavelet.cluster.shared_directory.records import DirectoryRecords
from wavelet.image.reference import Platform, Reference
from wavelet.kinds.augment.node import AugmentedImage
from wavelet.kinds.registry_image.node import RegistryImage
from wavelet.kinds.table import FORMS
from wavelet.plan.canonical import Pin
from wavelet.plan.node import ContainerConfig, Node
from wavelet.plan.tokens import ANONYMOUS, NONCE_BYTES, target_name

ROUNDS, NAMES, PULLS = 5, 40, 60
ROUND_TRIP = 0.0005
LIFETIMES = Lifetimes(86400.0, 86400.0)
READY_SECONDS = 10.0
CALLS = "user.calls"
PYTHON = "/usr/bin/python3"
"""Debian's, for `python3-fusepy`."""


def measure(field: Field) -> list[Row]:
    """Return the times in both places."""
    local = field.fresh("records")
    local.mkdir()
    rows = _place(field, local, "disk")
    with _across(field) as mounted:
        if mounted is None:
            return [*rows, Row("binding a name, 0.5 ms a call", "(needs apt-get install fuse3 python3-fusepy)")]
        return rows + _place(field, mounted, "0.5 ms a call", mounted)


@contextmanager
def _across(field: Field) -> Iterator[Path | None]:
    """Give a directory where each call takes a round trip; None where that cannot be had."""
    if subprocess.run([PYTHON, "-c", "import fusepy"], capture_output=True, check=False).returncode:
        yield None
        return
    behind, mounted = field.fresh("behind"), field.fresh("mounted")
    behind.mkdir()
    mounted.mkdir()
    script = Path(__file__).with_name("round_trips.py")
    command = [PYTHON, str(script), str(behind), str(mounted), str(ROUND_TRIP)]
    server = Background(command, mounted.with_suffix(".log"))
    try:
        server.wait_until(mounted.is_mount, READY_SECONDS)
        shared = mounted / "records"
        shared.mkdir()
        yield shared
    finally:
        subprocess.run(["umount", "-l", mounted], check=False)
        server.stop()


def _place(field: Field, shared: Path, where: str, counting: Path | None = None) -> list[Row]:
    daemon = Daemon(field.fresh("node"), WAVELET_RECORDS_DIRECTORY=shared)
    daemon.start()
    try:
        asked = _Asked(field, load_key(shared / KEY_NAME), shared)
        rows = asyncio.run(_bindings(asked, where))
        rows += [] if counting is None else asyncio.run(_calls(asked, counting.parent))
        return rows + _pulls(asked, daemon, where)
    finally:
        daemon.stop()


class _Asked:
    """Requests that were never made before, with what they are pinned to."""

    def __init__(self, field: Field, key: bytes, shared: Path) -> None:
        self.key = key
        self.shared = shared
        self._repository = f"{field.registry.host}/{field.REPOSITORY}"
        self._tag = field.TAG
        self._digest = field.image.digest

    def records(self) -> DirectoryRecords:
        """Return the records as a node sees them that has just started."""
        return DirectoryRecords(self.shared, self.key, FORMS, LIFETIMES)

    def new(self) -> tuple[Node, Pin]:
        amd64 = Platform("linux", "amd64")
        config = ContainerConfig(env=(f"N={secrets.token_hex(8)}",))
        leaf = RegistryImage(Reference.parse(f"{self._repository}:{self._tag}"), amd64)
        fixed = RegistryImage(Reference.parse(f"{self._repository}@{self._digest}"), amd64)
        return AugmentedImage(leaf, config), Pin.of(AugmentedImage(fixed, config))


def undecided(plan: Node) -> Record:
    """Return the record of a request whose pin is not known."""
    return Record(plan, ANONYMOUS, nonce=secrets.token_hex(NONCE_BYTES))


async def _bindings(asked: _Asked, where: str) -> list[Row]:
    series: dict[str, list[list[float]]] = {name: [] for name in ("link", "directory", "plain", "read", "plain read")}
    for number in range(ROUNDS):
        for name in ("link", "directory") if number % 2 == 0 else ("directory", "link"):
            bound, read, plain_read = await _round(asked, without_links=name == "directory")
            series[name].append(bound)
            if name == "link":
                series["read"].append(read)
                series["plain read"].append(plain_read)
        series["plain"].append([_seconds(lambda: _publish(asked.shared)) for _ in range(NAMES)])
    rows = [
        *_rows(f"binding a name, {where}", series["link"], series["plain"]),
        *_rows(f"binding a name without links, {where}", series["directory"], series["plain"]),
    ]
    return rows + _rows(f"reading a bound name, {where}", series["read"], series["plain read"])


async def _round(asked: _Asked, *, without_links: bool) -> tuple[list[float], list[float], list[float]]:
    binding, reading, plain = [], [], []
    records = asked.records()
    for _ in range(NAMES):
        plan, pin = asked.new()
        token = await records.put(undecided(plan), {})
        with mock.patch.object(os, "link", _no_links) if without_links else ExitStack():
            started = time.perf_counter()
            await records.bind(token, pin)
            binding.append(time.perf_counter() - started)
        other = asked.records()
        started = time.perf_counter()
        stored = await other.get(token)
        reading.append(time.perf_counter() - started)
        if stored is None or stored.pin != pin:
            raise LabError(f"{token} is not bound to {pin}")
        await other.close()
        if not without_links:
            path = asked.shared / token[:2] / token
            plain.append(
                _seconds(lambda path=path: (path.read_bytes(), path.with_name(f"{path.name}.pin").read_bytes()))
            )
    await records.close()
    return binding, reading, plain


async def _calls(asked: _Asked, mounted: Path) -> list[Row]:
    """Return how many calls each takes, on a file system that counts them."""
    taken: dict[str, list[int]] = {name: [] for name in _COUNTED}
    for _ in range(NAMES):
        records, other = asked.records(), asked.records()
        plan, pin = asked.new()
        bare, (second, _) = undecided(plan), asked.new()
        token = await records.put(bare, {})
        unlinked = await records.put(undecided(second), {})
        counts = [_count(mounted)]
        await records.bind(token, pin)
        counts.append(_count(mounted))
        with mock.patch.object(os, "link", _no_links):
            await records.bind(unlinked, pin)
        counts.append(_count(mounted))
        _publish(asked.shared)
        counts.append(_count(mounted))
        await records.put(Record(plan, ANONYMOUS, pin, first=token), {})
        counts.append(_count(mounted))
        await other.get(token)
        counts.append(_count(mounted))
        for name, before, after in zip(_COUNTED, counts, counts[1:], strict=False):
            taken[name].append(after - before)
        await records.close()
        await other.close()
    medians = {name: f"{statistics.median(counted):g}" for name, counted in taken.items()}
    plain = f"plain files: {medians.pop('plain')}"
    return [Row(f"{name}, calls", count, "" if "read" in name else plain) for name, count in medians.items()]


_COUNTED = (
    "binding a name",
    "binding a name without links",
    "plain",
    "noting that a name was the first",
    "reading a bound name",
)


def _count(mounted: Path) -> int:
    return int(os.getxattr(mounted, CALLS))


def _no_links(*_: object, **__: object) -> None:
    raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))


def _publish(directory: Path) -> None:
    """Make a file with the least that makes it whole and durable."""
    path = directory / secrets.token_hex(8)
    aside = path.with_suffix(".tmp")
    file = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    os.write(file, bytes(300))
    os.fsync(file)
    os.close(file)
    os.link(aside, path)
    aside.unlink()
    opened = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    os.fsync(opened)
    os.close(opened)


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _rows(measure: str, ours: Sequence[Sequence[float]], theirs: Sequence[Sequence[float]]) -> list[Row]:
    medians = [[1000 * statistics.median(each) for each in rounds] for rounds in (ours, theirs)]
    p99 = [
        1000 * statistics.quantiles([each for round_ in rounds for each in round_], n=100)[98]
        for rounds in (ours, theirs)
    ]
    return [
        against(f"{measure}, p50", "plain files", *medians, "ms"),
        Row(f"{measure}, p99", f"{p99[0]:.3g} ms", f"plain files: {p99[1]:.3g} ms"),
    ]


def _pulls(asked: _Asked, daemon: Daemon, where: str) -> list[Row]:
    times: dict[str, list[float]] = {"undecided": [], "decided": []}
    connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=30)
    for number in range(PULLS + 2):
        for kind in times if number % 2 == 0 else reversed(times):
            plan, pin = asked.new()
            record = undecided(plan) if kind == "undecided" else Record(plan, ANONYMOUS, pin)
            token = asyncio.run(_kept(asked, record))
            path = nextflow.manifest_path(target_name(daemon.authority, token, plan))
            times[kind].append(_seconds(lambda path=path: _get(connection, path)))
    connection.close()
    # The first ones fetch the manifest, and ask what the tag is.
    ours, theirs = ([1000 * each for each in times[kind][2:]] for kind in times)
    size = PULLS // ROUNDS
    rounds = [[statistics.median(each[n : n + size]) for n in range(0, PULLS, size)] for each in (ours, theirs)]
    p99 = [statistics.quantiles(each, n=100)[98] for each in (ours, theirs)]
    return [
        against(f"first pull of a name that is not bound yet, {where}, p50", "decided", *rounds, "ms"),
        Row(
            f"first pull of a name that is not bound yet, {where}, p99", f"{p99[0]:.3g} ms", f"decided: {p99[1]:.3g} ms"
        ),
    ]


async def _kept(asked: _Asked, record: Record) -> str:
    records = asked.records()
    try:
        return await records.put(record, {})
    finally:
        await records.close()


def _get(connection: http.client.HTTPConnection, path: str) -> None:
    connection.request("GET", path, headers={"Accept": ", ".join(images.MANIFEST_TYPES)})
    answer = connection.getresponse()
    body = answer.read()
    if answer.status != 200:
        raise LabError(f"{path}: {answer.status} {body!r}")
