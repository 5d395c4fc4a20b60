"""The registry that is this daemon itself, as the client of registries knows it: asked without a connection.

A daemon that asked itself over HTTP would speak for nobody in particular, and could not read what is one user's.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Protocol

from wavelet.image.reference import Digest, Reference, Repository
from wavelet.plan.tokens import Identity
from wavelet.upstream.credential_sources import Granted
from wavelet.upstream.listing import Referrers
from wavelet.upstream.manifests import FetchedManifest, Found
from wavelet.upstream.streams import Stream


class OwnRegistry(Protocol):
    """What is asked of it; see `wavelet.upstream.client.Upstream` for each."""

    def has(self, repository: Repository) -> bool:
        """Tell whether a repository is one of this daemon's own."""

    async def head(self, reference: Reference, identity: Identity) -> Found:
        """Return what `reference` names."""

    async def manifest(self, reference: Reference, identity: Identity) -> FetchedManifest:
        """Return the manifest or index that `reference` names."""

    def blob(
        self, repository: Repository, digest: Digest, identity: Identity, offset: int
    ) -> AbstractAsyncContextManager[Stream]:
        """Open a blob's bytes from `offset` on."""

    async def blob_size(self, repository: Repository, digest: Digest, identity: Identity) -> tuple[int, Granted]:
        """Return the size in bytes of a blob."""

    async def tags(
        self, repository: Repository, identity: Identity, n: int | None, last: str | None
    ) -> tuple[list[str], bool]:
        """Return up to `n` tags after `last`, and whether there are more."""

    async def referrers(self, repository: Repository, digest: Digest, identity: Identity) -> Referrers:
        """Return what refers to `digest`."""
