"""What all measures of conda images share: a channel on loopback, a base image, and daemons that use both."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import conda_set
from field import Field

from lab import conda_asks, nextflow, task_image
from lab.conda_asks import CHANNEL, CondaSite
from lab.conda_channel import ChannelServer, make_channel
from lab.conda_index import repodata
from lab.conda_packages import Noise, Package
from lab.daemon import Daemon
from lab.processes import LabError

SECONDS = 300.0
GIGABYTE = "gigabyte"
"""The name of a package of 1 GB."""


@dataclass(frozen=True)
class Asked:
    """A request that was answered, and the seconds from its POST until there was a manifest."""

    answer: dict[str, Any]
    seconds: float

    @property
    def image(self) -> str:
        """The name by which engines pull it."""
        return str(self.answer["targetImage"])


class Site(CondaSite):
    """The channel's server, a base image in the field's registry, and daemons."""

    def __init__(self, field: Field, server: ChannelServer, base: str) -> None:
        super().__init__(field.registry, server, base)
        self.field = field

    @contextmanager
    def daemon(self, **settings: Any) -> Iterator[Daemon]:
        """Run a daemon with an empty store, and with the base image when it has been asked for anything."""
        daemon = Daemon(self.field.fresh("conda"), settings=self.settings(more=settings, workers=0))
        daemon.start()
        try:
            yield daemon
        finally:
            daemon.stop()

    def lock(self, specs: Sequence[str]) -> str:
        """Return the explicit lock of an environment whose `specs` are all of it but `tzdata`."""
        found = {f"{record['name']}={record['version']}": record for record in self._records()}
        found |= {record["name"]: record for record in found.values() if record["name"] in ("python", "tzdata")}
        lines = [f"{record['url']}#{record['md5']}" for record in (found[spec] for spec in [*specs, "tzdata"])]
        return "\n".join(["@EXPLICIT", *lines, ""])

    def _records(self) -> Iterator[dict[str, Any]]:
        for subdir in ("linux-64", "noarch"):
            for name, record in repodata(self.server.channels[CHANNEL], subdir)["packages.conda"].items():
                yield record | {"url": f"{self.server.channel(CHANNEL)}/{subdir}/{name}"}


def open_site(field: Field) -> Site:
    """Return the site of a field: made at the first call, and kept until the field ends."""
    return field.once(_site)


@contextmanager
def _site(field: Field) -> Iterator[Site]:
    channel = make_channel(field.fresh("channel"), conda_set.packages())
    base = field.registry.push("lab/task", "1", task_image.task_image())
    with ChannelServer({CHANNEL: channel}) as server:
        yield Site(field, server, base)


def big_package() -> Package:
    """Return a package of 1 GB in one file and a thousand small ones."""
    files = {f"share/big/{number}": Noise(1_000, number) for number in range(1_000)}
    return Package(GIGABYTE, files={"lib/libbig.so": Noise(1_000_000_000, 1, mode=0o755), **files})


def ask(daemon: Daemon, *specs: str, environment: str = "") -> Asked:
    """Ask for an image, and for its manifest; a LabError if it is not made in `SECONDS`."""
    started = time.monotonic()
    answer = conda_asks.ask(daemon, *specs, environment=environment)
    path = nextflow.manifest_path(answer["targetImage"])
    while (reply := daemon.get(path, Accept=conda_asks.ACCEPT)).status != 200:
        if time.monotonic() - started > SECONDS or reply.status != 503:
            raise LabError(f"{path}: {reply.status} {reply.body.decode('utf-8', 'replace')}\n{daemon.log()[-4000:]}")
        time.sleep(0.01)
    return Asked(answer, time.monotonic() - started)
