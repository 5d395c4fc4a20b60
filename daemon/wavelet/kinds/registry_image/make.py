"""The maker of images that a registry has: its own bytes, and what they name; of an index, the image of a platform."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from wavelet.errors import ImageNotFound, NotFound, UpstreamBroken
from wavelet.image.image import (
    INDEX_TYPES,
    MANIFEST_LIMIT,
    MANIFEST_TYPES,
    Content,
    Descriptor,
    FromUpstream,
    Image,
    Index,
    IndexEntry,
    MalformedManifest,
    Manifest,
    parse_config,
    parse_document,
)
from wavelet.image.reference import DEFAULT_PLATFORM, Digest, Platform, Reference, Repository
from wavelet.kinds.kind import Work, from_upstream
from wavelet.kinds.other_architecture import remedy
from wavelet.kinds.registry_image.node import RegistryImage

LOOKED_INTO = 32
"""Documents below one index that are looked into for a platform: indexes, and manifests of which it says nothing."""


async def make(plan: RegistryImage, work: Work, *, mislabelled: Iterable[str] = ()) -> Image:
    """Return the image as it is, or, of an index, the one for the plan's platform.

    Without a platform, any document is returned as it is. `mislabelled` are repositories, or paths above some, whose
    images name the wrong platform.

    Raises:
        ImageNotFound: there is none for the platform.
        UpstreamBroken: the registry's document is not one.
    """
    reference = plan.reference
    data, content_type = await work.manifest(reference)
    view = _view(reference, data, content_type)
    if plan.platform is not None:
        if isinstance(view, Index):
            return await work.realise(await _Search(work, reference, plan.platform).run(view))
        own = await _named_by_config(work, reference.repository, view)
        if own not in (None, plan.platform) and not _is_below(reference.repository, mislabelled):
            raise absent(str(reference), plan.platform, [own], single=True)
    digest = reference.digest or Digest.of(data)
    own_descriptor = Descriptor(view.media_type, digest, len(data))
    return Image.of(own_descriptor, from_upstream(reference.repository, (own_descriptor, *view.descriptors)))


def absent(name: str, platform: Platform, there: Iterable[Platform | None], *, single: bool = False) -> ImageNotFound:
    """Return the error of an image that is not there for `platform`, but for `there`; `single`: it is no index."""
    others = [other for other in dict.fromkeys(there) if other is not None]
    usable = sorted(other for other in others if other.os == platform.os)
    todo = f"; {remedy(DEFAULT_PLATFORM if DEFAULT_PLATFORM in usable else usable[0])}" if usable else ""
    label = "; if it is one for that platform after all, the site can list it in upstream.mislabelled" if single else ""
    return ImageNotFound(
        f"{name} has no {platform}; it has {', '.join(map(str, others)) or 'none'}. The platform is what "
        "`process.arch` says in Nextflow, which asks for linux/amd64 where nothing is set, on arm64 machines too, or "
        f"containerPlatform in a request{todo}{label}"
    )


@dataclass(slots=True)
class _Search:
    """Looks for the image of a platform in an index, also in indexes within it."""

    work: Work
    reference: Reference
    platform: Platform
    there: list[Platform | None] = field(default_factory=list)
    looked_into: int = 0

    async def run(self, index: Index) -> RegistryImage:
        found = await self._in(index)
        if found is None:
            raise absent(str(self.reference), self.platform, self.there)
        return found

    async def _in(self, index: Index) -> RegistryImage | None:
        self.there += [entry.platform for entry in index.entries if entry.is_image]
        for entry in index.entries:
            if entry.platform == self.platform:
                if entry.descriptor.media_type not in INDEX_TYPES:
                    return RegistryImage(self.reference).entry(entry)
                found = await self._below(entry)
                if found is not None:
                    return found
        for entry in index.entries:
            found = await self._below(entry) if entry.platform is None else None
            if found is not None:
                return found
        return None

    async def _below(self, entry: IndexEntry) -> RegistryImage | None:
        """Look into a document that an index says too little of; one that is not there, or none, is left out."""
        if entry.descriptor.media_type not in (*INDEX_TYPES, *MANIFEST_TYPES, "") or self.looked_into >= LOOKED_INTO:
            return None
        self.looked_into += 1
        reference = self.reference.at(entry.descriptor.digest)
        try:
            data, content_type = await self.work.manifest(reference)
            view = _view(reference, data, content_type)
            if isinstance(view, Index):
                return await self._in(view)
            own = await _named_by_config(self.work, reference.repository, view)
        except (NotFound, UpstreamBroken):
            return None
        if own is not None and own != self.platform:
            self.there.append(own)
        return RegistryImage(reference) if own == self.platform else None


def _view(reference: Reference, data: bytes, content_type: str) -> Manifest | Index:
    try:
        return parse_document(data, content_type)
    except MalformedManifest as error:
        raise UpstreamBroken(f"{reference}: {error}") from None


async def _named_by_config(work: Work, repository: Repository, view: Manifest) -> Platform | None:
    """Return the platform that an image's configuration names, None where it names none or is of another kind."""
    if view.config is None or view.config.size > MANIFEST_LIMIT:
        return None
    data = await work.read(Content(view.config, FromUpstream(repository)))
    try:
        _, config = parse_config(data)
    except MalformedManifest:
        return None
    return config.platform if config.names_platform else None


def _is_below(repository: Repository, paths: Iterable[str]) -> bool:
    return any(f"{repository}/".startswith(f"{path.rstrip('/')}/") for path in paths)
