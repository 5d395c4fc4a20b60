"""SIFs that others publish: ORAS pushes one to a registry and pulls it through the node."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from lab import oras
from lab.daemon import Daemon
from lab.registry import Registry

pytestmark = [pytest.mark.registry, pytest.mark.oras]


def test_a_sif_of_a_registry_is_near_cached(node: Daemon, registry: Registry, tmp_path: Path) -> None:
    file = tmp_path / "published.sif"
    file.write_bytes(random.Random(14).randbytes(3_000_000))
    oras.push(file, f"{registry.host}/lab/published:1")
    name = f"{node.authority}/{registry.host.replace(':', '_')}/lab/published:1"
    assert oras.pull(name, tmp_path / "pulled").read_bytes() == file.read_bytes()
    asked = registry.count("/lab/published/blobs/")
    assert oras.pull(name, tmp_path / "again").name == "published.sif"
    assert registry.count("/lab/published/blobs/") == asked, "what the node has is not fetched again"
