"""An image as wavelet knows it: its descriptor, and the closure of all content that belongs to it with its sources."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from wavelet.image.digest import Digest
from wavelet.image.manifest import Descriptor
from wavelet.image.reference import Repository


@dataclass(frozen=True, slots=True)
class FromUpstream:
    """The content is a manifest or blob of a repository."""

    repository: Repository

    @property
    def origin(self) -> str:
        """The name under which the store remembers that bytes came from here."""
        return str(self.repository)


@dataclass(frozen=True, slots=True)
class FromLocation:
    """The content is a layer that a request named: a URL, or inline (`inline:`); `diff_id` is its tar's digest."""

    location: str
    diff_id: Digest

    @property
    def origin(self) -> str:
        """See `FromUpstream.origin`."""
        return f"layer {Digest.of(self.location.encode())}"


@dataclass(frozen=True, slots=True)
class MadeBy:
    """The content was made here, by the pinned plan with this key; making that again gives it back."""

    key: str

    @property
    def origin(self) -> str:
        """See `FromUpstream.origin`."""
        return f"made {self.key}"


Source = FromUpstream | FromLocation | MadeBy


@dataclass(frozen=True, slots=True)
class Content:
    """One member of a closure."""

    descriptor: Descriptor
    source: Source


@dataclass(frozen=True)
class Image:
    """What a pinned plan is made to: the descriptor that its name answers, and everything that name may hand out."""

    descriptor: Descriptor
    contents: tuple[Content, ...]

    @classmethod
    def of(cls, descriptor: Descriptor, contents: Iterable[Content]) -> Image:
        """Make an image; each digest of `contents` counts once, the first one standing."""
        unique: dict[Digest, Content] = {}
        for content in contents:
            unique.setdefault(content.descriptor.digest, content)
        return cls(descriptor, tuple(unique.values()))

    @cached_property
    def closure(self) -> Mapping[Digest, Content]:
        """The contents by digest, the image's own descriptor among them."""
        return {content.descriptor.digest: content for content in self.contents}

    @cached_property
    def upstreams(self) -> frozenset[Repository]:
        """The repositories that must be readable for an identity to read this image."""
        return frozenset(c.source.repository for c in self.contents if isinstance(c.source, FromUpstream))
