"""Hosted repositories for those who make images: as a registry that is asked without a connection, and as pins.

A reference names them by the daemon's own authority, `127.0.0.1:9090/local/tool:1`, or in the form of plans (see
`wavelet.plan.hosted`). It is pinned to one owner's repository, whose content lies in the store under the very origin
that plans have for it, so that nothing is fetched.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Collection
from typing import BinaryIO

from wavelet.config import Settings, join_address
from wavelet.config.values import is_loopback, is_unspecified, split_address
from wavelet.errors import BlobNotFound, WaitExpired
from wavelet.hosted.images import HostedImages, View
from wavelet.hosted.model import HostedBlob, HostedManifest, view_of
from wavelet.image.reference import Digest, Reference, Repository
from wavelet.plan import hosted
from wavelet.plan.tokens import ANONYMOUS, Identity
from wavelet.store.content import Committed
from wavelet.upstream.credential_sources import Granted
from wavelet.upstream.listing import Referrers
from wavelet.upstream.manifests import FetchedManifest, Found
from wavelet.upstream.streams import Stream

_READ_SIZE = 256 * 1024


def own_authorities(settings: Settings) -> frozenset[str]:
    """Return the hosts by which references name this daemon; none where its names are not special."""
    return called_by(settings) if settings.reserved_names else frozenset()


def called_by(settings: Settings) -> frozenset[str]:
    """Return the hosts, with ports, by which clients on this node call this daemon."""
    host, port = split_address(settings.listen, "listen")
    local = {join_address(each, port) for each in ("127.0.0.1", "localhost")}
    reachable = local if is_loopback(settings.listen, "listen") or is_unspecified(host) else set()
    return frozenset({settings.name_authority, settings.listen} | reachable)


class OwnHostedRegistry:
    """`wavelet.upstream.own.OwnRegistry`, and `wavelet.kinds.registry_image.kind.OwnImages`."""

    def __init__(self, images: HostedImages, authorities: Collection[str]) -> None:
        """Take the hosts by which references name this daemon; none where its names are not special."""
        self._images = images
        self._authorities = frozenset(authorities)

    def has(self, repository: Repository) -> bool:
        """See `OwnRegistry`."""
        if repository.host == hosted.HOST:
            return True
        return repository.host in self._authorities and repository.path.startswith(f"{hosted.FIRST}/")

    def _view(self, repository: Repository, identity: Identity) -> View:
        return view_of(Repository(hosted.HOST, repository.path), identity)

    def find(self, reference: Reference, identity: Identity) -> tuple[Reference, bool] | None:
        """Return a reference as it is pinned for an identity, and whether all may read that; None: it is not here."""
        found = self._images.find(self._view(reference.repository, identity), _named(reference))
        if found is None:
            return None
        return Reference(found.repository.source.repository, digest=found.descriptor.digest), found.is_public

    async def pin(self, reference: Reference, identity: Identity) -> tuple[Reference, bool]:
        """Return the same.

        Raises:
            ImageNotFound: it is not here, and where it is, if that is known.
        """
        found = await self._get(reference, identity)
        return Reference(found.repository.source.repository, digest=found.descriptor.digest), found.is_public

    async def _get(self, reference: Reference, identity: Identity) -> HostedManifest:
        return await self._images.get(self._view(reference.repository, identity), _named(reference))

    async def head(self, reference: Reference, identity: Identity) -> Found:
        """See `OwnRegistry`."""
        found = await self._get(reference, identity)
        descriptor = found.descriptor
        return Found(descriptor.digest, descriptor.media_type, descriptor.size, _granted(found))

    async def manifest(self, reference: Reference, identity: Identity) -> FetchedManifest:
        """See `OwnRegistry`."""
        found = await self._get(reference, identity)
        data = await self._images.document(found.content)
        return FetchedManifest(data, found.descriptor.media_type, found.descriptor.digest, _granted(found))

    @contextlib.asynccontextmanager
    async def blob(
        self, repository: Repository, digest: Digest, identity: Identity, offset: int
    ) -> AsyncIterator[Stream]:
        """See `OwnRegistry`."""
        found = self._blob(repository, digest, identity)
        blob = await self._images.open(found.content)
        if not isinstance(blob, Committed):
            raise WaitExpired(f"{digest} is just arriving; ask again", retry_after=0.0)
        with blob.path.open("rb", buffering=0) as file:
            file.seek(offset)
            yield Stream(offset, blob.size, _chunks(file), _granted(found), file.close)

    async def blob_size(self, repository: Repository, digest: Digest, identity: Identity) -> tuple[int, Granted]:
        """See `OwnRegistry`."""
        found = self._blob(repository, digest, identity)
        return found.size, _granted(found)

    def _blob(self, repository: Repository, digest: Digest, identity: Identity) -> HostedBlob:
        found = self._images.blob(self._view(repository, identity), digest)
        if found is None:
            raise BlobNotFound(f"{hosted.FIRST}/{hosted.path_of(repository)} has no blob {digest} on this node")
        return found

    async def tags(
        self, repository: Repository, identity: Identity, n: int | None, last: str | None
    ) -> tuple[list[str], bool]:
        """See `OwnRegistry`."""
        return self._images.page_of_tags(self._view(repository, identity), n, last)

    async def referrers(self, repository: Repository, digest: Digest, identity: Identity) -> Referrers:
        """See `OwnRegistry`."""
        return Referrers(self._images.referrers(self._view(repository, identity), digest))


def _named(reference: Reference) -> str | Digest:
    return reference.digest or reference.tag or "latest"


def _granted(found: HostedManifest | HostedBlob) -> Granted:
    return Granted(public=found.repository.owner == ANONYMOUS, by="whoever has pushed it")


async def _chunks(file: BinaryIO) -> AsyncIterator[bytes]:
    while chunk := await asyncio.to_thread(file.read, _READ_SIZE):
        yield chunk
