"""Counts what a reader passes who follows a request through the code: functions, files, and changes of file.

    python benchmarks/walks.py [WALK]   or any other Python that has a version of wavelet, for that version

The daemon runs in this process, over a registry and a channel on loopback, and is asked by HTTP alone. A walk is all of
wavelet's Python that runs for one request until what it asks for is made (see walked.py), so neither upkeep nor other
requests, nor the processes that solve and make layers. Each walk is taken four times, for new names each time; the
first time does not count, for it imports what is imported late. Of two numbers the first is the least.

The measure of changes of file are the ways, different pairs of files; how often one changes depends on the content.
With the name of a walk its ways are listed.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import logging
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

import msgspec
import structlog
from walked import Walk, expect, recording

from doubles.registry import Registry
from lab import conda_asks, images, nextflow
from lab.conda_channel import ChannelServer, make_channel
from lab.conda_packages import File, Package
from lab.ports import free_port
from lab.processes import LabError, wait_for
from wavelet.app import running
from wavelet.config import Settings

ROUNDS = 4
SECONDS = 60.0
QUIET = 0.3
"""Seconds without a call after which a walk is over."""

CHANNEL = "lab"
NAMES = "POST conda", "the same again", "manifest", "blob cold"


class Client:
    """Asks the daemon over HTTP, a connection for each request."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self._address = host, int(port)

    def ask(self, method: str, path: str, body: object = None, walk: Walk | None = None) -> bytes:
        """Return the content of an answer, which has to be good."""
        port = free_port()
        if walk is not None:
            expect(port, walk)
        connection = http.client.HTTPConnection(*self._address, timeout=SECONDS, source_address=("127.0.0.1", port))
        headers = {"Content-Type": "application/json"} if body else {"Accept": ", ".join(images.MANIFEST_TYPES)}
        try:
            connection.request(method, path, json.dumps(body) if body else None, headers)
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        if answer.status != 200:
            raise LabError(f"{method} {path}: {answer.status} {content!r}")
        return content

    def post(self, body: object, walk: Walk) -> str:
        """Ask for an image, wait until it is made, and return its name."""
        answer = json.loads(self.ask("POST", "/v1alpha2/container", body, walk))
        path = f"/v1alpha2/container/{answer['requestId']}/status"
        wait_for(lambda: json.loads(self.ask("GET", path))["status"] == "DONE", "the image", SECONDS)
        if not (state := json.loads(self.ask("GET", path)))["succeeded"]:
            raise LabError(f"not made: {state}")
        return str(answer["targetImage"])


def _round(client: Client, registry: str, number: int) -> dict[str, Walk]:
    """Take each walk once, for names of this round."""
    walks = {name: Walk() for name in NAMES}
    first, again, manifest, blob = walks.values()
    body = nextflow.body(packages=conda_asks.packages(f"part{number}", channels=(CHANNEL,)))
    target = client.post(body, first)
    _quiet(first)
    client.post(body, again)
    client.ask("GET", nextflow.manifest_path(target), walk=manifest)
    near = f"/v2/{registry}/lab/tool{number}"
    layer = json.loads(client.ask("GET", f"{near}/manifests/1"))["layers"][0]["digest"]
    client.ask("GET", f"{near}/blobs/{layer}", walk=blob)
    for walk in walks.values():
        _quiet(walk)
        assert walk.files
    return walks


def _quiet(walk: Walk) -> None:
    wait_for(lambda: time.monotonic() - walk.last > QUIET, "the end of a walk", SECONDS)


def _table(rounds: list[dict[str, Walk]]) -> str:
    lines = ["| walk | functions | files | ways | changes |", "| - | - | - | - | - |"]
    for name in NAMES:
        walks = [each[name] for each in rounds]
        counts = [(len(w.functions), len(w.files), len(w.ways), w.changes) for w in walks]
        columns = zip(*counts, strict=True)
        lines.append(f"| {name} | {' | '.join(_span(column) for column in columns)} |")
    return "\n".join(lines)


def _span(values: tuple[int, ...]) -> str:
    return f"{min(values)}" if min(values) == max(values) else f"{min(values)} to {max(values)}"


async def _measure(directory: Path) -> list[dict[str, Walk]]:
    packages = [Package(f"part{n}", "1.0", files={f"share/part{n}": File(b"%d\n" % n)}) for n in range(ROUNDS)]
    channels = {CHANNEL: make_channel(directory / "channel", packages)}
    async with Registry() as registry:
        for name in ("base", *(f"tool{number}" for number in range(ROUNDS))):
            registry.add_image(f"lab/{name}", "1")
        with ChannelServer(channels) as server:
            conda = {"channel_alias": server.url, "channels": [CHANNEL], "base_packages": [], "workers": 2}
            conda |= {"base_image": f"{registry.host}/lab/base:1"}
            own = {"listen": "127.0.0.1:0", "state": str(directory / "state"), "grpc": {"enabled": False}}
            async with running(msgspec.convert(own | {"conda": conda}, Settings)) as address:
                return await asyncio.to_thread(_rounds, Client(address), registry.host)


def _rounds(client: Client, registry: str) -> list[dict[str, Walk]]:
    return [_round(client, registry, number) for number in range(ROUNDS)][1:]


def main() -> None:
    """Take all walks and print the table."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    with tempfile.TemporaryDirectory(prefix="wavelet-walks-") as directory, recording():
        rounds = asyncio.run(_measure(Path(directory)))
    print(_table(rounds))
    for name in sys.argv[1:]:
        print(name, *sorted(" -> ".join(way) for way in rounds[-1][name].ways), sep="\n")


if __name__ == "__main__":
    main()
