"""Pushes to a real registry (docker-registry)."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from lab import images
from lab.registry import PASSWORDS, Registry
from wavelet.image.image import Descriptor
from wavelet.image.reference import Digest, Repository
from wavelet.plan.tokens import Identity, Login
from wavelet.upstream.client import Upstream
from wavelet.upstream.pusher import PushSource

ANN = Identity(uid=1, login=Login("ann", PASSWORDS["ann"]), login_key="k")
PIECE = 1024 * 1024


def source_of(data: bytes, media_type: str = "application/octet-stream") -> PushSource:
    """Return a source of `data`, in pieces of a mebibyte."""

    @asynccontextmanager
    async def opened(offset: int) -> AsyncIterator[AsyncIterator[bytes]]:
        async def pieces() -> AsyncIterator[bytes]:
            for start in range(offset, len(data), PIECE):
                yield data[start : start + PIECE]

        yield pieces()

    return PushSource(Descriptor(media_type, Digest.of(data), len(data)), opened)


@pytest.fixture(params=[None, ("ann",)], ids=["open", "login"])
def real(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Registry]:
    running = Registry(tmp_path / "registry", request.param)
    running.start()
    yield running
    running.stop()


@pytest.mark.registry
async def test_an_image_is_pushed_and_pulled(real: Registry, upstream: Upstream) -> None:
    image, pusher = images.busybox(images.layer({"etc/lab": "x" * 100})), upstream.pusher
    repository = Repository(real.host, "lab/pushed")
    assert await pusher.has_manifest(repository, "1", ANN) is None
    sent = 0

    def on_bytes(count: int) -> None:
        nonlocal sent
        sent += count

    for blob in image.blobs.values():
        assert await pusher.push_blob(repository, source_of(blob), ANN, on_bytes=on_bytes)
        assert not await pusher.push_blob(repository, source_of(blob), ANN, on_bytes=on_bytes)
    assert sent == sum(len(blob) for blob in image.blobs.values())
    await pusher.push_manifest(repository, "1", image.document, image.media_type, ANN)
    found = await pusher.has_manifest(repository, "1", ANN)
    assert found == Descriptor(image.media_type, Digest.of(image.document), len(image.document))
    big = os.urandom(20 * PIECE + 7)
    assert await pusher.push_blob(repository, source_of(big), ANN)
