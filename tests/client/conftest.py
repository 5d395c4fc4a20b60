"""Both clients as fixtures, and one running daemon with a registry and a conda channel for each module of tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab import images
from lab.conda_asks import CHANNEL, CondaSite
from lab.conda_channel import ChannelServer, make_channel
from lab.conda_packages import Package
from lab.daemon import Daemon
from lab.grpc_site import Run, Site, awaiting, blocking
from lab.registry import Registry

PACKAGES = (
    Package("samtools", "1.17", depends=("htslib >=1.17",)),
    Package("htslib", "1.17"),
    Package("bwa", "0.7", depends=("htslib",)),
    *(Package(f"{how}-{kind}") for how in ("new", "slow", "unwanted") for kind in ("blocking", "awaiting")),
)


@pytest.fixture(params=[blocking, awaiting])
def run(request: pytest.FixtureRequest) -> Run:
    """Return each client in turn: a function that makes one call with it. A stream's answers come as a list."""
    return request.param  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Return a running daemon with a public registry, a private one, and a small channel."""
    registry = Registry(tmp_path_factory.mktemp("registry"))
    private = Registry(tmp_path_factory.mktemp("private"), accounts=("ann",))
    busybox = images.busybox()
    channel = tmp_path_factory.mktemp("channel")
    make_channel(channel, PACKAGES)
    registry.start()
    private.start()
    try:
        registry.push("lab/busybox", "1", busybox)
        for kind in ("blocking", "awaiting"):
            private.push(f"lab/{kind}", "1", busybox)
        registry.push("library/busybox", "1.36", busybox)
        with ChannelServer({CHANNEL: channel, "bioconda": channel}) as server:
            mirrored = {"upstream": {"registries": {"docker.io": {"mirrors": [registry.url]}}}}
            settings = CondaSite(registry, server, f"{registry.host}/lab/busybox:1").settings(more=mirrored)
            node = Daemon(tmp_path_factory.mktemp("node") / "state", settings=settings)
            try:
                yield Site(node.start(), registry, private, server, busybox)
            finally:
                node.stop()
    finally:
        registry.stop()
        private.stop()
