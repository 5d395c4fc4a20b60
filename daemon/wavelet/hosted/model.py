"""The values of hosted repositories: whose they are, what they have, and what a pushed document says. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from wavelet import foreign_json
from wavelet.errors import InvalidRequest, ManifestInvalid
from wavelet.foreign_json import ForeignJsonError
from wavelet.image.image import (
    ACCEPTED_TYPES,
    INDEX_TYPES,
    Content,
    Descriptor,
    FromUpstream,
    Index,
    MalformedManifest,
    parse_document,
)
from wavelet.image.reference import Digest, Repository
from wavelet.plan import hosted
from wavelet.plan.tokens import ANONYMOUS, Identity, Principal


@dataclass(frozen=True, slots=True)
class HostedRepository:
    """What one owner has pushed to `local/<path>`; owned by everybody: what an engine has pushed that serves several.

    Attributes:
        owner: who may read it, and alone may push to it and delete of it.
        path: what stands behind `local/`.
    """

    owner: Principal
    path: str

    @property
    def name(self) -> str:
        """The name without authority."""
        return f"{hosted.FIRST}/{self.path}"

    @property
    def source(self) -> FromUpstream:
        """Where the content of its images is from, as plans and the store name it."""
        return FromUpstream(hosted.owned(self.owner, self.path))


def readers_view(identity: Identity, path: str) -> list[HostedRepository]:
    """Return the repositories that a name means to an identity: its own, then everybody's."""
    return [HostedRepository(owner, path) for owner in dict.fromkeys((identity.principal, ANONYMOUS))]


def view_of(repository: Repository, identity: Identity) -> list[HostedRepository]:
    """Return those that a plan's hosted repository means to an identity; none that it may not read."""
    path = hosted.path_of(repository)
    owner = hosted.owner_of(repository)
    return [each for each in readers_view(identity, path) if owner in (None, each.owner)]


@dataclass(frozen=True, slots=True)
class HostedManifest:
    """A manifest or index of a repository."""

    repository: HostedRepository
    descriptor: Descriptor

    @property
    def content(self) -> Content:
        """It as a member of a closure."""
        return Content(self.descriptor, self.repository.source)

    @property
    def is_public(self) -> bool:
        """Whether everybody may read it."""
        return self.repository.owner == ANONYMOUS


@dataclass(frozen=True, slots=True)
class HostedBlob:
    """A blob of a repository."""

    repository: HostedRepository
    digest: Digest
    size: int

    @property
    def content(self) -> Content:
        """It as a member of a closure."""
        return Content(Descriptor("application/octet-stream", self.digest, self.size), self.repository.source)


@dataclass(frozen=True, slots=True)
class Pushed:
    """A document that was pushed.

    Attributes:
        media_type: as it is answered.
        blobs: the content that a manifest names, but for what has URLs of its own to be had from.
        manifests: the documents that an index names.
        subject: the manifest that it refers to, which need not be there.
        artifact_type: what it is listed as among what refers to a manifest.
        annotations: the same.
    """

    media_type: str
    blobs: tuple[Descriptor, ...] = ()
    manifests: tuple[Descriptor, ...] = ()
    subject: Digest | None = None
    artifact_type: str = ""
    annotations: Mapping[str, str] = field(default_factory=dict)


class _Subject(msgspec.Struct):
    digest: str


class _Config(msgspec.Struct, rename={"media_type": "mediaType"}):
    media_type: str = ""


class _More(msgspec.Struct, rename={"media_type": "mediaType", "artifact_type": "artifactType"}):
    media_type: str = ""
    artifact_type: str = ""
    config: _Config | None = None
    subject: _Subject | None = None
    annotations: dict[str, object] | None = None


def read_pushed(data: bytes, content_type: str) -> Pushed:
    """Read a document that is pushed with this header Content-Type (distribution-spec, "Pushing manifests").

    Raises:
        ManifestInvalid: it is none, or not of the type that is said.
    """
    said = content_type.partition(";")[0].strip()
    try:
        view = parse_document(data, said)
        more = foreign_json.decode(data, _More)
        subject = None if more.subject is None else Digest.parse(more.subject.digest, "subject")
    except (MalformedManifest, ForeignJsonError, InvalidRequest) as error:
        raise ManifestInvalid(f"what is pushed is no manifest: {error}") from None
    media_type = more.media_type or said or view.media_type
    if media_type not in ACCEPTED_TYPES or (said and said != media_type):
        raise ManifestInvalid(
            f"Content-Type: {said[:100]!r} is not what is pushed, or no type of manifests; the document says"
            f" {media_type[:100]!r}, and manifests and indexes of OCI and Docker (schema 2) are taken"
        )
    if isinstance(view, Index) is not (media_type in INDEX_TYPES):
        raise ManifestInvalid(f"{media_type} is not what the document's members are of")
    of_config = more.config.media_type if more.config is not None else ""
    return Pushed(
        media_type,
        () if isinstance(view, Index) else tuple(each for each in view.descriptors if not each.urls),
        view.descriptors if isinstance(view, Index) else (),
        subject,
        more.artifact_type or of_config,
        foreign_json.each_value(more.annotations, str),
    )
