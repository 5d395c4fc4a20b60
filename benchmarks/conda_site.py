"""What all measures of conda images share: a channel on loopback, a base image, and daemons that use both."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import conda_set
from field import Field

from lab import conda_asks, nextflow, task_image
from lab.conda_asks import CHANNEL, CondaSite
from lab.conda_channel import ChannelServer, make_channel
from lab.conda_index import repodata
from lab.daemon import Daemon
from lab.processes import LabError

SECONDS = 300.0


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
    def daemon(self, layers: str = "many", **settings: Any) -> Iterator[Daemon]:
        """Run a daemon with an empty store, and with the base image when it has been asked for anything."""
        daemon = Daemon(self.field.fresh("conda"), settings=self.settings(more=settings, workers=0, layers=layers))
        daemon.start()
        try:
            yield daemon
        finally:
            daemon.stop()

    def lock(self, specs: Sequence[str]) -> str:
        """Return the explicit lock of an environment whose `specs` are all of it but `tzdata`."""
        lines = [f"{record['url']}#sha256:{record['sha256']}" for record in self._records(specs)]
        return "\n".join(["@EXPLICIT", *lines, ""])

    def share(self, first: Sequence[str], second: Sequence[str]) -> float:
        """Return which part of the bytes of the second environment's packages are the first one's."""
        has = {record["sha256"] for record in self._records(first)}
        sizes = [(record["size"], record["sha256"] in has) for record in self._records(second)]
        return float(sum(size for size, shared in sizes if shared) / sum(size for size, _ in sizes))

    def _records(self, specs: Sequence[str]) -> list[dict[str, Any]]:
        found = {}
        for subdir in ("linux-64", "noarch"):
            for name, record in repodata(self.server.channels[CHANNEL], subdir)["packages.conda"].items():
                record["url"] = f"{self.server.channel(CHANNEL)}/{subdir}/{name}"
                found[record["name"]] = found[f"{record['name']}={record['version']}"] = record
        return [found[spec] for spec in (*specs, "tzdata")]


def open_site(field: Field) -> Site:
    """Return the site of a field: made at the first call, and kept until the field ends."""
    return field.once(_site)


@contextmanager
def _site(field: Field) -> Iterator[Site]:
    channel = make_channel(field.fresh("channel"), conda_set.packages())
    base = field.registry.push("lab/task", "1", task_image.task_image())
    with ChannelServer({CHANNEL: channel}) as server:
        yield Site(field, server, base)


def ask(daemon: Daemon, *specs: str, environment: str = "", channel: str = CHANNEL) -> Asked:
    """Ask for an image, and for its manifest; a LabError if it is not made in `SECONDS`."""
    started = time.monotonic()
    answer = conda_asks.ask(daemon, *specs, environment=environment, channels=[channel])
    path = nextflow.manifest_path(answer["targetImage"])
    while (reply := daemon.get(path, Accept=conda_asks.ACCEPT)).status != 200:
        if time.monotonic() - started > SECONDS or reply.status != 503:
            raise LabError(f"{path}: {reply.status} {reply.body.decode('utf-8', 'replace')}\n{daemon.log()[-4000:]}")
        time.sleep(0.01)
    return Asked(answer, time.monotonic() - started)
