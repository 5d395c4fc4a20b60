"""The catalogue of hosted repositories, for who administers the node: every image and its owner; removal by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from wavelet.hosted import policy
from wavelet.hosted.model import HostedRepository
from wavelet.hosted.pushes import HostedPushes
from wavelet.hosted.tables import Tables
from wavelet.image.reference import Digest
from wavelet.store.room import Counted


@dataclass(frozen=True, slots=True)
class Listed:
    """An image that was pushed.

    Attributes:
        reference: its tag, or its digest where no tag leads to it.
        digest: of its manifest.
        sizes: the bytes of all that belongs to it.
    """

    repository: HostedRepository
    reference: str | Digest
    digest: Digest
    sizes: Mapping[Digest, int]

    @property
    def name(self) -> str:
        """Its name without authority."""
        mark = "@" if isinstance(self.reference, Digest) else ":"
        return f"{self.repository.name}{mark}{self.reference}"


class HostedCatalogue:
    """See the module."""

    def __init__(self, tables: Tables, pushes: HostedPushes) -> None:
        self._tables = tables
        self._pushes = pushes

    def images(self) -> Iterator[Listed]:
        """Yield every tag, and every manifest that no tag leads to, repository by repository."""
        for repository in self._tables.repositories():
            tags, manifests = self._tables.tags(repository), self._tables.manifests(repository)
            for tag, digest in tags.items():
                yield Listed(repository, tag, digest, self._sizes(repository, digest))
            for digest in sorted(manifests.keys() - policy.leads_to(manifests, set(tags.values()))):
                yield Listed(repository, digest, digest, self._sizes(repository, digest))

    def _sizes(self, repository: HostedRepository, root: Digest) -> dict[Digest, int]:
        sizes: dict[Digest, int] = {}
        waiting, seen = [root], {root}
        while waiting:
            manifest = self._tables.manifest(repository, waiting.pop())
            if manifest is None:
                continue  # a blob
            digest = manifest.descriptor.digest
            members = self._tables.members(repository, digest)
            sizes |= {digest: manifest.descriptor.size} | members
            waiting += members.keys() - seen
            seen |= members.keys()
        return sizes

    async def remove(self, name: str) -> Counted | None:
        """Remove what is called so, of all its owners, and return what of it has left the store; None: there is none.

        A digest alone is all images with it.
        """
        found = [each for each in self.images() if name in (each.name, each.digest)]
        gone = [await self._pushes.remove_image(each.repository, each.reference) for each in found]
        return Counted(sum(each.blobs for each in gone), sum(each.size for each in gone)) if found else None
