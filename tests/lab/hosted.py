"""Images that are pushed to a node in the test's process, without its doors."""

from __future__ import annotations

from collections.abc import AsyncIterator

from lab import images
from wavelet.hosted.model import HostedRepository
from wavelet.hosted.service import HostedServices
from wavelet.image.reference import Digest
from wavelet.plan.tokens import Principal

ANN = Principal(uid=1001)
BOB = Principal(uid=1002)


async def chunks(*parts: bytes) -> AsyncIterator[bytes]:
    """Yield the parts of a body."""
    for part in parts:
        yield part


async def push_blob(hosted: HostedServices, repository: HostedRepository, *parts: bytes) -> Digest:
    """Push a blob in parts; return its digest."""
    session = hosted.uploads.begin(repository, repository.owner.uid)
    await hosted.uploads.receive(session, chunks(*parts))
    digest = Digest.of(b"".join(parts))
    await hosted.uploads.finish(session, digest)
    return digest


async def push_image(hosted: HostedServices, repository: HostedRepository, tag: str, image: images.Image) -> Digest:
    """Push an image and all that it has, under a tag or its digest; return that."""
    for member in image.members:
        await push_image(hosted, repository, member.digest, member)
    for blob in image.blobs.values():
        await push_blob(hosted, repository, blob)
    named = Digest(tag) if ":" in tag else tag
    put = await hosted.pushes.put_manifest(repository, named, image.document, image.media_type, [])
    return put.digest


def small_image(text: str, *, family: str = images.OCI, platform: str = "linux/amd64") -> images.Image:
    """Return an image of one small layer."""
    return images.image([images.layer({"text": text.encode() * 100})], family=family, platform=platform)


def index_of(*texts: str) -> images.Image:
    """Return an index of such images, the first of them for linux/amd64 and the others for linux/arm64."""
    platforms = ["linux/amd64", *["linux/arm64"] * (len(texts) - 1)]
    members = [small_image(text, platform=platform) for text, platform in zip(texts, platforms, strict=True)]
    return images.index(members, family=images.OCI)
