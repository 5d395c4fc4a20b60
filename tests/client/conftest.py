"""Both clients as fixtures, and one running daemon with a registry and a conda channel for each module of tests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from lab import images
from lab.conda_packages import Package
from lab.grpc_site import Run, Site, awaiting, blocking, running_site
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

    def mirrored(registry: Registry) -> dict[str, Any]:
        registry.push("library/busybox", "1.36", images.busybox())
        return {"upstream": {"registries": {"docker.io": {"mirrors": [registry.url]}}}}

    private = [f"lab/{kind}" for kind in ("blocking", "awaiting")]
    with running_site(tmp_path_factory.mktemp, PACKAGES, private, mirrored) as running:
        yield running
