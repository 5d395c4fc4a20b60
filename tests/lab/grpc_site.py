"""A daemon to be called over gRPC, and the Python client's two kinds as one function each."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab import images
from lab.conda_asks import CHANNEL, CondaSite
from lab.conda_channel import ChannelServer, make_channel
from lab.conda_packages import Package
from lab.daemon import Daemon
from lab.registry import Registry
from wavelet.client import AsyncClient, Client

Do = Callable[[Any], Any]
Run = Callable[..., Any]


def blocking(do: Do, target: str | None = None, **settings: Any) -> Any:
    """Make one call; a stream's answers come as a list."""
    with Client(target, **settings) as client:
        answer = do(client)
        return list(answer) if hasattr(answer, "send") else answer


def awaiting(do: Do, target: str | None = None, **settings: Any) -> Any:
    """Make one call in an event loop; a stream's answers come as a list."""

    async def run() -> Any:
        async with AsyncClient(target, **settings) as client:
            answer = do(client)
            return await answer if isinstance(answer, Awaitable) else [event async for event in answer]

    return asyncio.run(run())


@dataclass
class Site:
    """A daemon and what it can be asked for."""

    node: Daemon
    registry: Registry
    private: Registry
    channel: ChannelServer
    busybox: images.Image

    @property
    def user(self) -> str:
        """Its socket for everybody, as a target."""
        return f"unix:{self.node.state}/wavelet.sock"

    @property
    def admin(self) -> str:
        """Its socket for administrators."""
        return f"unix:{self.node.state}/admin.sock"

    @property
    def image(self) -> str:
        """The reference of a public image."""
        return f"{self.registry.host}/lab/busybox:1"


@contextmanager
def running_site(
    directory: Callable[[str], Path],
    packages: Iterable[Package],
    private: Iterable[str],
    more: Callable[[Registry], Mapping[str, Any]] = lambda _: {},
) -> Iterator[Site]:
    """Run a daemon with a public registry, a private one, and a small channel.

    Args:
        directory: makes a directory of this name.
        packages: of the channel.
        private: repositories of the private registry, with the tag `1`.
        more: further settings of the daemon, for the public registry.
    """
    registry = Registry(directory("registry"))
    secret = Registry(directory("private"), accounts=("ann",))
    busybox = images.busybox()
    channel = directory("channel")
    make_channel(channel, tuple(packages))
    registry.start()
    secret.start()
    try:
        registry.push("lab/busybox", "1", busybox)
        for repository in private:
            secret.push(repository, "1", busybox)
        with ChannelServer({CHANNEL: channel, "bioconda": channel}) as server:
            settings = CondaSite(registry, server, f"{registry.host}/lab/busybox:1").settings(more=more(registry))
            node = Daemon(directory("node") / "state", settings=settings)
            try:
                yield Site(node.start(), registry, secret, server, busybox)
            finally:
                node.stop()
    finally:
        registry.stop()
        secret.stop()
