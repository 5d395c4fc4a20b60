"""An image that some registry has, as a node: the one that most plans stand on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

from wavelet.image.image import MANIFEST_TYPES, IndexEntry
from wavelet.image.reference import Digest, Platform, Reference, Repository
from wavelet.plan.hosted import shown
from wavelet.plan.node import Description, Label, Node, View, tag_of_digest


@dataclass(frozen=True, slots=True)
class RegistryImage(Node):
    """An image that some registry has. Without a platform: whatever the reference names, an index as it is."""

    tag = "from"

    reference: Reference
    platform: Platform | None = None

    @property
    def moves(self) -> bool:
        """See `Node`."""
        return self.reference.digest is None

    @property
    def named(self) -> Reference:
        """See `Node`."""
        return self.reference

    def renamed(self, reference: Reference) -> RegistryImage:
        """See `Node`."""
        return replace(self, reference=reference)

    @property
    def repository(self) -> Repository:
        """See `Node`."""
        return self.reference.repository

    @property
    def digest(self) -> Digest | None:
        """See `Node`."""
        return self.reference.digest

    @property
    def label(self) -> Label:
        """See `Node`. An unchanged image keeps its digest."""
        path, digest = self.reference.repository.path, self.reference.digest
        if digest is None:
            return Label(path, self.reference.tag or "latest")
        return Label(path, digest if self.platform is None else tag_of_digest(digest))

    @property
    def description(self) -> Description:
        """See `Node`."""
        platforms = () if self.platform is None else (self.platform,)
        name = shown(self.reference)
        return Description(title=name, image=name, platforms=platforms, is_built=False)

    def for_platform(self, platform: Platform | None) -> RegistryImage:
        """See `Node`."""
        return replace(self, platform=platform)

    def entry(self, entry: IndexEntry) -> RegistryImage:
        """See `Node`. What an index says of an image's platform counts, whatever the image itself says."""
        is_image = entry.descriptor.media_type in MANIFEST_TYPES
        return RegistryImage(self.reference.at(entry.descriptor.digest), None if is_image else entry.platform)

    def write(self, view: View) -> dict[str, Any]:
        """See `Node`. Of a reference with a digest the tag takes no part."""
        reference = self.reference if self.reference.digest is None else self.reference.at(self.reference.digest)
        return {"from": str(reference)} | ({} if self.platform is None else {"platform": str(self.platform)})

    @classmethod
    def read(cls, value: Mapping[str, Any], read: Callable[[Any], Node]) -> Self:
        """See `Node`."""
        platform = Platform.from_text(value["platform"]) if "platform" in value else None
        return cls(Reference.parse(value["from"]), platform)
