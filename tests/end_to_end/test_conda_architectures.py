"""Images for both architectures, made on one machine without emulation."""

from __future__ import annotations

import struct

import pytest

from lab import conda_asks, nextflow
from lab.conda_asks import CondaSite, blob, config, done, files, layers, manifest
from lab.daemon import Daemon
from lab.images import Image

pytestmark = pytest.mark.registry

BOTH = "linux/amd64,linux/arm64"
ELF_MACHINES = {"amd64": 62, "arm64": 183}


@pytest.fixture(scope="module")
def base(conda_site: CondaSite) -> str:
    """Return the name of a base image that there is for both architectures."""
    from lab import images

    members = [
        images.image([images.busybox_layer(), images.layer({"etc/architecture": architecture.encode()})], platform=f"linux/{architecture}")
        for architecture in ELF_MACHINES
    ]
    index: Image = images.index(members, images.OCI)
    return conda_site.registry.push("lab/both", "1", index)
