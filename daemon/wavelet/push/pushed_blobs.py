"""The memory of what was pushed where, so that another repository of the same registry gets it from there."""

from __future__ import annotations

from cachetools import LRUCache

from wavelet.image.reference import Digest, Repository
from wavelet.plan.tokens import Identity, Principal

REMEMBERED = 100_000
"""Blobs of which it is remembered where they are; of others the registry gets the bytes once more."""


class PushedBlobs:
    """Remembers for each registry where a blob was last seen, by whom: nobody hears of others' repositories."""

    def __init__(self) -> None:
        self._seen: LRUCache[tuple[str, Digest, Principal], Repository] = LRUCache(REMEMBERED)

    def add(self, repository: Repository, digest: Digest, identity: Identity) -> None:
        """Take note that a blob is in a repository."""
        self._seen[repository.host, digest, identity.principal] = repository

    def elsewhere(self, repository: Repository, digest: Digest, identity: Identity) -> list[Repository]:
        """Return another repository of the same registry that has a blob, if one is known."""
        found = self._seen.get((repository.host, digest, identity.principal))
        return [] if found in (None, repository) else [found]
