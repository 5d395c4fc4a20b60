"""Images as values: views of their documents (image-spec), which stay bytes, and the closure of all their content.

The bytes are the truth: a document is read into a view, and is never written again from that view.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import msgspec

from wavelet import foreign_json
from wavelet.errors import InvalidRequest
from wavelet.foreign_json import ForeignJsonError
from wavelet.image.reference import Digest, Platform, Repository

MANIFEST_LIMIT = 4 * 1024 * 1024
"""Bytes of a manifest that registries have to accept (distribution-spec, "Pushing manifests"); no more is read."""

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
OCI_ARTIFACT = "application/vnd.oci.artifact.manifest.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"

MANIFEST_TYPES = (OCI_MANIFEST, DOCKER_MANIFEST)
INDEX_TYPES = (OCI_INDEX, DOCKER_LIST)
ACCEPTED_TYPES = (*INDEX_TYPES, *MANIFEST_TYPES, OCI_ARTIFACT)


class MalformedManifest(ValueError):
    """The bytes are not a manifest or index. Callers say whose bytes they were."""


class Family(enum.Enum):
    """The two families of media types. A document holds members of its own family only, as podman demands."""

    OCI = "oci"
    DOCKER = "docker"

    @classmethod
    def of(cls, media_type: str) -> Family:
        """Return the family that a manifest's or index's media type belongs to."""
        return cls.DOCKER if media_type.startswith("application/vnd.docker.") else cls.OCI

    @property
    def index(self) -> str:
        """The media type of this family's index."""
        return OCI_INDEX if self is Family.OCI else DOCKER_LIST

    def layer(self, like: str = "gzip") -> str:
        """Return this family's type of layer with the compression of the media type (or word) `like`."""
        if like.endswith("zstd"):
            return f"{OCI_LAYER}+zstd" if self is Family.OCI else f"{DOCKER_LAYER}.zstd"
        if like.endswith("gzip"):
            return f"{OCI_LAYER}+gzip" if self is Family.OCI else f"{DOCKER_LAYER}.gzip"
        return OCI_LAYER if self is Family.OCI else DOCKER_LAYER


@dataclass(frozen=True, slots=True)
class Descriptor:
    """Media type, digest and size in bytes of some content (image-spec descriptor.md).

    Attributes:
        urls: from where else the content may be had, as layers that may not be distributed say.
    """

    media_type: str
    digest: Digest
    size: int
    urls: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return media type, digest and size in the spec's order."""
        return {"mediaType": self.media_type, "digest": str(self.digest), "size": self.size}


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """One manifest of an index, with the platform it is for, if the index says so."""

    descriptor: Descriptor
    platform: Platform | None
    annotations: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_image(self) -> bool:
        """False for what has no platform, as the attestations that BuildKit adds under `unknown/unknown`."""
        return self.platform is not None and self.platform.os != "unknown"


@dataclass(frozen=True, slots=True)
class Index:
    """View of an image index or Docker manifest list."""

    media_type: str
    entries: tuple[IndexEntry, ...]

    @property
    def descriptors(self) -> tuple[Descriptor, ...]:
        """What the document names directly, in its order."""
        return tuple(entry.descriptor for entry in self.entries)

    def select(self, platform: Platform) -> IndexEntry | None:
        """Return the first entry for `platform`, as engines choose it."""
        return next((entry for entry in self.entries if entry.platform == platform), None)

    def platforms(self) -> str:
        """Name the platforms there are, for an error's sentence."""
        return ", ".join(str(entry.platform) for entry in self.entries if entry.is_image) or "none"


@dataclass(frozen=True, slots=True)
class Manifest:
    """View of an image manifest; an artifact's blobs count as its layers."""

    media_type: str
    config: Descriptor | None
    layers: tuple[Descriptor, ...]

    @property
    def descriptors(self) -> tuple[Descriptor, ...]:
        """What the document names directly: the config, then the layers."""
        return (() if self.config is None else (self.config,)) + self.layers


class _Platform(msgspec.Struct):
    architecture: str = ""
    os: str = ""
    variant: str = ""


class _Descriptor(msgspec.Struct, rename={"media_type": "mediaType"}):
    digest: str
    size: int
    media_type: str = ""
    platform: _Platform | None = None
    annotations: dict[str, Any] | None = None
    urls: list[Any] | None = None


class _Document(msgspec.Struct, rename={"schema_version": "schemaVersion", "media_type": "mediaType"}):
    schema_version: int = 0
    media_type: str | None = None
    config: _Descriptor | None = None
    layers: list[_Descriptor] | None = None
    blobs: list[_Descriptor] | None = None
    manifests: list[Any] | None = None


def parse_document(data: bytes, content_type: str | None = None) -> Manifest | Index:
    """Read a manifest or index. An entry of an index that cannot be read is left out, unless none can.

    `mediaType` inside the document decides, else `content_type` (the upstream's header), else the members that are
    there (image-spec: the property is optional in OCI documents).

    Raises:
        MalformedManifest: not JSON, the wrong types, a broken digest, Docker's schema 1, or neither of the two kinds.
    """
    try:
        document = foreign_json.decode(data, _Document)
        if document.schema_version == 1:
            raise MalformedManifest("a Docker schema 1 manifest, which no engine of today reads")
        declared = document.media_type or (content_type or "").partition(";")[0].strip()
        if document.manifests is not None:
            media_type = declared if declared in INDEX_TYPES else OCI_INDEX
            entries = tuple(entry for entry, _ in read_entries(document.manifests))
            if document.manifests and not entries:
                raise MalformedManifest("an index without any entry that can be read")
            return Index(media_type, entries)
        if document.layers is None and document.config is None and document.blobs is None:
            raise MalformedManifest("neither a manifest nor an index")
        return Manifest(
            declared if declared in (*MANIFEST_TYPES, OCI_ARTIFACT) else OCI_MANIFEST,
            None if document.config is None else _descriptor(document.config),
            tuple(map(_descriptor, document.layers or document.blobs or ())),
        )
    except (ForeignJsonError, InvalidRequest) as error:
        raise MalformedManifest(str(error)) from None


def read_entries(manifests: list[Any]) -> Iterator[tuple[IndexEntry, dict[str, Any]]]:
    """Yield the entries of an index that can be read, each with the object that it was read from."""
    for wire in manifests:
        read = foreign_json.convert(wire, _Descriptor)
        try:
            entry = None if read is None else _entry(read)
        except (MalformedManifest, InvalidRequest):
            continue
        if entry is not None:
            yield entry, wire


def _descriptor(wire: _Descriptor) -> Descriptor:
    if wire.size < 0:
        raise MalformedManifest(f"a negative size for {wire.digest}")
    urls = tuple(url for url in wire.urls or () if isinstance(url, str))
    return Descriptor(wire.media_type, Digest.parse(wire.digest), wire.size, urls)


def _entry(wire: _Descriptor) -> IndexEntry:
    platform = wire.platform
    parsed = None if platform is None else Platform.of(platform.os, platform.architecture, platform.variant)
    texts = {name: value for name, value in (wire.annotations or {}).items() if isinstance(value, str)}
    return IndexEntry(_descriptor(wire), parsed, texts)


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """View of an image configuration: the platform it was made for and its layers' diff IDs.

    `names_platform` is false where it says nothing of its architecture, and the platform is a guess.
    """

    platform: Platform
    diff_ids: tuple[Digest, ...]
    names_platform: bool = True


class _Rootfs(msgspec.Struct):
    diff_ids: list[str] | None = None


class _Settings(msgspec.Struct, rename="pascal"):
    entrypoint: list[str] | None = None
    cmd: list[str] | None = None
    env: list[str] | None = None


class _ConfigDocument(msgspec.Struct):
    os: str | None = None
    architecture: str | None = None
    variant: str | None = None
    rootfs: _Rootfs | None = None
    config: _Settings | None = None
    history: list[dict[str, Any]] | None = None


def parse_config(data: bytes) -> tuple[dict[str, Any], ImageConfig]:
    """Return the document as it is (key order kept) and the view of it.

    Raises:
        MalformedManifest: not a JSON object, or its members are of the wrong types.
    """
    try:
        view = foreign_json.decode(data, _ConfigDocument)
        diff_ids = () if view.rootfs is None else view.rootfs.diff_ids or ()
        platform = Platform.of(view.os or "linux", view.architecture or "amd64", view.variant or "")
        parsed = ImageConfig(platform, tuple(map(Digest.parse, diff_ids)), bool(view.architecture))
        return foreign_json.decode(data, dict[str, Any]), parsed
    except (ForeignJsonError, InvalidRequest) as error:
        raise MalformedManifest(f"not an image configuration: {error}") from None


def merge_env(*lists: Iterable[str]) -> list[str]:
    """Join lists of `NAME=value`: each name once, at its first place, with its last value."""
    merged: dict[str, str] = {}
    for entry in (entry for entries in lists for entry in entries):
        merged[entry.partition("=")[0]] = entry
    return list(merged.values())


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


@dataclass(frozen=True, slots=True)
class Joined:
    """The content is that of `parts`, one after the other: its bytes lie nowhere a second time."""

    parts: tuple[Content, ...]

    @property
    def origin(self) -> str:
        """See `FromUpstream.origin`. Only its parts are in the store."""
        return "joined"


Source = FromUpstream | FromLocation | MadeBy | Joined


@dataclass(frozen=True, slots=True)
class Content:
    """One member of a closure."""

    descriptor: Descriptor
    source: Source


@dataclass(frozen=True)
class Image:
    """What a pinned plan is made to: the descriptor that its name answers, and everything that name may hand out.

    Attributes:
        derived_from: repositories that what was made here holds the bytes of, in another form.
    """

    descriptor: Descriptor
    contents: tuple[Content, ...]
    derived_from: frozenset[Repository] = frozenset()

    @classmethod
    def of(cls, descriptor: Descriptor, contents: Iterable[Content], derived_from: Iterable[Repository] = ()) -> Image:
        """Make an image; each digest of `contents` counts once, the first one standing."""
        unique: dict[Digest, Content] = {}
        for content in contents:
            unique.setdefault(content.descriptor.digest, content)
        return cls(descriptor, tuple(unique.values()), frozenset(derived_from))

    @cached_property
    def closure(self) -> Mapping[Digest, Content]:
        """The contents by digest, the image's own descriptor among them."""
        return {content.descriptor.digest: content for content in self.contents}

    @cached_property
    def stored(self) -> tuple[Content, ...]:
        """The contents whose bytes lie somewhere: all but those that are joined of others."""
        return tuple(content for content in self.contents if not isinstance(content.source, Joined))

    @cached_property
    def makers(self) -> frozenset[str]:
        """The keys of the plans that made those of its contents that were made here."""
        return frozenset(content.source.key for content in self.contents if isinstance(content.source, MadeBy))

    @cached_property
    def upstreams(self) -> frozenset[Repository]:
        """The repositories that must be readable for an identity to read this image."""
        own = (c.source.repository for c in self.contents if isinstance(c.source, FromUpstream))
        return self.derived_from.union(own)
