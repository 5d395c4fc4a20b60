"""Fixtures: a node in this process, what it pushes with, and registries, real ones and one that misbehaves."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from doubles.registry import Registry as Double
from lab.node import Node, open_node
from lab.registry import Registry
from wavelet.push.image_push import ImagePusher
from wavelet.push.mirror import Mirror
from wavelet.push.pushed_blobs import PushedBlobs
from wavelet.resolve import archives
from wavelet.upstream import retry


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retry without long waits, and without the auth files of whoever runs the tests."""
    monkeypatch.setattr(retry, "REQUESTS", replace(retry.REQUESTS, first_delay=0.01))
    monkeypatch.setattr(archives, "RESUMING", replace(archives.RESUMING, first_delay=0.01))
    monkeypatch.setattr("wavelet.upstream.credential_sources.paths_of", lambda uid: [])


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    async with open_node(tmp_path / "node") as opened:
        yield opened


@pytest.fixture
def mirror(node: Node) -> Mirror:
    return Mirror(node.upstream, node.access, node.store, node.upstream.pusher, PushedBlobs(node.database))


@pytest.fixture
def pusher(node: Node) -> ImagePusher:
    return ImagePusher(node.resolver, node.store, node.upstream.pusher, PushedBlobs(node.database))


@pytest.fixture
async def double() -> AsyncIterator[Double]:
    """A registry that misbehaves on demand."""
    async with Double() as running:
        yield running


@pytest.fixture
def origin(tmp_path: Path) -> Iterator[Registry]:
    """A real registry, to copy from."""
    yield from _running(tmp_path / "origin")


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Registry]:
    """A real registry, to copy to."""
    yield from _running(tmp_path / "target")


def _running(directory: Path) -> Iterator[Registry]:
    registry = Registry(directory)
    registry.start()
    yield registry
    registry.stop()
