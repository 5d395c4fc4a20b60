"""Fixtures: a channel that can fail, a small base image, daemons on both, and what an undisturbed one makes of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from faulty import TINY_BASE, Node, StartNode, Waits, packages

from lab.conda_asks import CHANNEL, CondaSite
from lab.conda_channel import ChannelServer, make_channel
from lab.registry import Registry


@pytest.fixture(scope="session")
def conda_channel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory of the tests' channel. It is shared: copy it (lab.conda_channel.copy) to change it."""
    return make_channel(tmp_path_factory.mktemp("faults-channel") / "channel", packages())


@pytest.fixture(scope="session")
def shared_site(tmp_path_factory: pytest.TempPathFactory, conda_channel: Path) -> Iterator[CondaSite]:
    """Return a registry with the base image, and a server: locks and images name it, so all daemons have the same."""
    registry = Registry(tmp_path_factory.mktemp("faults-registry"))
    registry.start()
    base = registry.push("lab/tiny", "1", TINY_BASE)
    with ChannelServer({CHANNEL: conda_channel}) as server:
        yield CondaSite(registry, server, base)
    registry.stop()


@pytest.fixture
def site(shared_site: CondaSite, conda_channel: Path) -> Iterator[CondaSite]:
    """Return the same for one test, which may let the server fail, stop, and serve something else."""
    shared_site.server.requests.clear()
    yield shared_site
    shared_site.server.off()
    shared_site.server.on()
    shared_site.server.channels = {CHANNEL: conda_channel}


@pytest.fixture(scope="session")
def calm(tmp_path_factory: pytest.TempPathFactory, shared_site: CondaSite) -> Iterator[Callable[..., str]]:
    """Return what gives the digest of an image that a daemon makes which nothing disturbs."""
    node = Node(tmp_path_factory.mktemp("calm") / "state", shared_site)
    known: dict[tuple[str, ...], str] = {}

    def digest(*specs: str, channels: tuple[str, ...] = (CHANNEL,)) -> str:
        if not known:
            node.daemon.start()
        asked = (*specs, *channels)
        if asked not in known:
            known[asked] = node.digest(*specs, channels=channels)
        return known[asked]

    yield digest
    node.daemon.stop()


@pytest.fixture
def start(site: CondaSite, tmp_path: Path) -> Iterator[StartNode]:
    """Return a function that starts a daemon (see Node), stopped after the test."""
    with ExitStack() as stack:

        def begin(name: str = "state", **settings: Any) -> Node:
            node = Node(tmp_path / name, site, **settings)
            stack.callback(node.daemon.stop)
            node.daemon.start()
            return node

        yield begin


@pytest.fixture(scope="session", autouse=True)
def waits(tmp_path_factory: pytest.TempPathFactory, shared_site: CondaSite, conda_channel: Path) -> Iterator[Waits]:
    """Return what is waited for meanwhile, with a server of its own."""
    begun = Waits(tmp_path_factory.mktemp("waits"), shared_site.registry, shared_site.base, conda_channel)
    yield begun
    begun.close()
