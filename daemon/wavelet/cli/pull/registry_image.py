"""An image as the daemon's registry serves it: its manifest and blobs, none of which is believed without its digest."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from wavelet.cli.pull.daemon_http import BROKEN, DaemonHttp
from wavelet.cli.pull.download import Report, download
from wavelet.errors import ImageNotFound, InvalidRequest, UpstreamBroken, UpstreamUnreachable
from wavelet.image.image import (
    ACCEPTED_TYPES,
    MANIFEST_LIMIT,
    Descriptor,
    Index,
    MalformedManifest,
    Manifest,
    parse_document,
)
from wavelet.image.reference import Digest, Platform
from wavelet.plan.delivery import FROZEN

_SAFE = "/:@=+,!~"
_SCHEME = "docker://"
LATEST = "latest"


@dataclass(frozen=True, slots=True)
class ImageName:
    """An image as the registry serves it.

    Attributes:
        repository: what stands in the path of its API.
        tag: empty, where the digest alone says which one.
        digest: what it has to be; None: whatever the tag is.
    """

    repository: str
    tag: str
    digest: Digest | None

    @classmethod
    def parse(cls, text: str, authority: str) -> ImageName:
        """Read what a user writes, or Nextflow prints; the daemon's authority may stand before it.

        Raises:
            InvalidRequest: it is of no registry, or its digest is none.
        """
        bare = text.removeprefix(_SCHEME).removeprefix(f"{authority}/")
        if "://" in bare:
            raise InvalidRequest(f"{text}: is of no registry; what is made of it has to be an image")
        name, at, digest = bare.partition("@")
        head, colon, tag = name.rpartition(":")
        if not colon or "/" in tag:
            head, tag = name, "" if at else LATEST
        return cls(head, tag, Digest.parse(digest) if at else None)

    @property
    def reference(self) -> str:
        """What its manifest is asked for by: the digest decides, but the names of frozen images end in a token."""
        by_tag = self.digest is None or (self.repository.startswith(f"{FROZEN}/") and self.tag)
        return self.tag if by_tag else str(self.digest)

    def __str__(self) -> str:
        return f"{self.repository}:{self.tag}" if self.tag else f"{self.repository}@{self.digest}"


@dataclass(frozen=True, slots=True)
class RegistryImage:
    """An image that was asked for: its manifest as it is, what that says, and where its blobs are."""

    daemon: DaemonHttp
    name: ImageName
    data: bytes
    manifest: Manifest

    @classmethod
    def find(cls, daemon: DaemonHttp, name: ImageName, platform: Platform) -> RegistryImage:
        """Ask for an image; of an index, for the one of a platform.

        Raises:
            ImageNotFound: the index has none for it.
            WaveletError: it cannot be had.
        """
        data, document = _document(daemon, name, name.reference, name.digest)
        if isinstance(document, Index):
            entry = document.select(platform)
            if entry is None:
                raise ImageNotFound(f"{name} is not there for {platform}, only for {document.platforms()} (--platform)")
            digest = entry.descriptor.digest
            data, document = _document(daemon, name, str(digest), digest)
        if not isinstance(document, Manifest):
            raise UpstreamBroken(f"{name} is an index within an index")
        return cls(daemon, name, data, document)

    @property
    def digest(self) -> Digest:
        """What its manifest is."""
        return Digest.of(self.data)

    @property
    def size(self) -> int:
        """Bytes of all blobs."""
        return sum(each.size for each in self.manifest.descriptors)

    def fetch(self, blob: Descriptor, target: Path, report: Report) -> None:
        """Fetch a blob into a file.

        Raises:
            WaveletError: why it is not there.
        """
        fetched = download(self.daemon, _path(self.name, "blobs", str(blob.digest)), target, report)
        if fetched.digest != blob.digest or fetched.size != blob.size:
            target.unlink()
            raise UpstreamBroken(f"{self.name}: instead of {blob.digest} came {fetched.digest}")


def part_of(report: Report, before: int, whole: int) -> Report:
    """Return whom to tell of a blob that has so many bytes `before` it, of the `whole` image."""
    return lambda done, _: report(before + done, whole)


def _document(
    daemon: DaemonHttp, name: ImageName, reference: str, digest: Digest | None
) -> tuple[bytes, Manifest | Index]:
    try:
        with daemon.get(_path(name, "manifests", reference), {"Accept": ", ".join(ACCEPTED_TYPES)}) as answer:
            data = answer.read(MANIFEST_LIMIT + 1)
            said = answer.getheader("Docker-Content-Digest")
            expected = digest or Digest.parse(said or "")
            if Digest.of(data, expected.algorithm) != expected or len(data) > MANIFEST_LIMIT:
                raise UpstreamBroken(f"{name}: what came is not {expected}")
            return data, parse_document(data, answer.getheader("Content-Type"))
    except BROKEN as error:
        raise UpstreamUnreachable(f"the connection to the daemon at {daemon.address} breaks ({error})") from None
    except (MalformedManifest, InvalidRequest) as error:
        raise UpstreamBroken(f"{name}: no manifest came ({error})") from None


def _path(name: ImageName, kind: str, reference: str) -> str:
    return f"/v2/{quote(name.repository, safe=_SAFE)}/{kind}/{quote(reference, safe=_SAFE)}"
