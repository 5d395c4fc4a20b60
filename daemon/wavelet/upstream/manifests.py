"""Manifests and indexes as registries answer them, to HEAD and to GET."""

from __future__ import annotations

import re
from dataclasses import dataclass

from wavelet.errors import ImageNotFound, InvalidRequest, UpstreamBroken
from wavelet.image.image import ACCEPTED_TYPES, MANIFEST_LIMIT, Descriptor, MalformedManifest, parse_document
from wavelet.image.reference import Digest, Reference
from wavelet.upstream.credential_sources import Granted
from wavelet.upstream.session import Call
from wavelet.upstream.streams import Answer, raise_for

_ACCEPT = {"Accept": ", ".join(ACCEPTED_TYPES)}


@dataclass(frozen=True, slots=True)
class Found:
    """What a reference names at its registry now."""

    digest: Digest
    media_type: str
    size: int
    granted: Granted

    @property
    def descriptor(self) -> Descriptor:
        """The same as a descriptor."""
        return Descriptor(self.media_type, self.digest, self.size)


@dataclass(frozen=True, slots=True)
class FetchedManifest:
    """A manifest or index as it came; `digest` is that of `data`."""

    data: bytes
    media_type: str
    digest: Digest
    granted: Granted

    @property
    def found(self) -> Found:
        """The same as an answer to HEAD."""
        return Found(self.digest, self.media_type, len(self.data), self.granted)


def manifest_call(reference: Reference, method: str) -> Call:
    """Return the call for the manifest or index that `reference` names."""
    return Call("manifest", method, f"manifests/{reference.digest or reference.tag}", headers=_ACCEPT)


def read_head(answer: Answer, reference: Reference, granted: Granted) -> Found | None:
    """Read an answer to HEAD; None where only a GET can tell, as for a 404 of a registry without HEAD.

    Raises:
        ImageNotFound: a mirror has none.
        UpstreamBroken: it is another one.
    """
    if answer.status in (404, 410) and answer.endpoint.is_mirror:
        raise ImageNotFound(f"{answer.endpoint.host}, a mirror, has no image {reference}")
    media_type = answer.headers.get("Content-Type", "").partition(";")[0].strip()
    size = stated_length(answer)
    stated = _stated_digest(answer) or reference.digest
    if answer.status != 200 or stated is None or size is None or media_type not in ACCEPTED_TYPES:
        return None
    if reference.digest is not None and stated != reference.digest:
        raise UpstreamBroken(f"{answer.endpoint.host} answers {reference} with another digest ({stated})")
    return Found(stated, media_type, size, granted)


async def read_manifest(answer: Answer, granted: Granted, reference: Reference) -> FetchedManifest:
    """Read an answer to GET and close it; verified where `reference` or the registry names a digest.

    Raises:
        ImageNotFound: there is none.
        UpstreamBroken: no manifest, or another one.
    """
    async with answer:
        if answer.status != 200:
            await raise_for(answer, ImageNotFound(f"{answer.endpoint.host} has no image {reference}"))
        data = await answer.read(MANIFEST_LIMIT)
        return _verified(answer, reference, data, granted)


def _verified(answer: Answer, reference: Reference, data: bytes, granted: Granted) -> FetchedManifest:
    stated = reference.digest or _stated_digest(answer)
    digest = Digest.of(data, "sha256" if stated is None else stated.algorithm)
    if stated is not None and digest != stated:
        raise UpstreamBroken(f"{answer.endpoint.host} answers {reference} with bytes of another digest ({digest})")
    try:
        view = parse_document(data, answer.headers.get("Content-Type"))
    except MalformedManifest as error:
        raise UpstreamBroken(f"{answer.endpoint.host} answers {reference} with no manifest: {error}") from None
    return FetchedManifest(data, view.media_type, digest, granted)


def _stated_digest(answer: Answer) -> Digest | None:
    try:
        return Digest.parse(answer.headers.get("Docker-Content-Digest", ""))
    except InvalidRequest:
        return None


def stated_length(answer: Answer) -> int | None:
    """Return the length that an answer tells; none of no bytes, which some servers say to every HEAD."""
    text = "" if answer.is_encoded else answer.headers.get("Content-Length", "")
    return int(text) or None if re.fullmatch(r"[0-9]{1,18}", text) else None
