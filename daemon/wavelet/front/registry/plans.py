"""The plans of names that are no container request's: what a name and a tag, or a digest, stand for. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from wavelet.errors import ImageNotFound, InvalidName
from wavelet.front.registry.names import (
    CondaName,
    FrozenName,
    LocalName,
    SifName,
    TokenName,
    UpstreamName,
    as_pulled,
    parse_name,
)
from wavelet.image.reference import Digest, Platform, Reference, valid_tag
from wavelet.kinds.conda.model.near_cache_names import LATEST, read_name
from wavelet.kinds.conda.model.node import CondaEnvironment
from wavelet.kinds.conda.model.package_request import CondaDefaults
from wavelet.kinds.registry_image.node import RegistryImage
from wavelet.plan.hosted import unowned


@dataclass(frozen=True, slots=True)
class Named:
    """A name as engines pull it, taken apart.

    Attributes:
        name: what its repository means.
        reference: the tag or the digest.
        path: the repository as it was written.
    """

    name: TokenName | CondaName | LocalName | UpstreamName
    reference: str | Digest
    path: str

    @property
    def text(self) -> str:
        """The name in full as engines pull it, without an authority."""
        mark = "@" if isinstance(self.reference, Digest) else ":"
        return as_pulled(f"{self.path}{mark}{self.reference}")


def read_named(text: str, field: str, *, reserved: bool) -> Named:
    """Take a name apart, `<path>[:<tag>]` or `<path>[:<tag>]@<digest>`; without either, the tag is `latest`.

    Raises:
        InvalidName, InvalidDigest: it follows no grammar, or is the name of a SIF.
        ImageNotFound: it is of a frozen image, and has no tag of one.
    """
    rest, at, digest = text.partition("@")
    path, colon, tag = rest.rpartition(":")
    if not colon or "/" in tag:
        path, tag = rest, LATEST
    if not valid_tag(tag):
        raise InvalidName(f"{field}: {tag[:128]!r} is not a tag", field=field)
    try:
        name = parse_name(path, None, reserved=reserved)
        if isinstance(name, SifName):
            raise InvalidName(f"{text[:300]} is an image in another form; name the image, and ask for the form `sif`")
        if isinstance(name, FrozenName) and at and path == rest:
            raise ImageNotFound(f"{field}: {text[:300]}: engines pull it so; here, say its tag too")
        return Named(
            name.at(tag) if isinstance(name, FrozenName) else name,
            Digest.parse(digest, field) if at else tag,
            path,
        )
    except InvalidName as error:
        raise error.with_message(f"{field}: {error.message}", field=field) from None


def reference_of(name: LocalName | UpstreamName, reference: str | Digest) -> Reference:
    """Return what a name and a tag, or a digest, are as plans name them."""
    repository = name.repository if isinstance(name, UpstreamName) else unowned(name.path)
    if isinstance(reference, Digest):
        return Reference(repository, digest=reference)
    return Reference(repository, reference)


def plan_of(
    name: CondaName | LocalName | UpstreamName,
    reference: str | Digest,
    site: CondaDefaults,
    platform: Platform | None = None,
) -> RegistryImage | CondaEnvironment:
    """Return the plan of a name. `platform` chooses from an index; packages are chosen for one by their name.

    Raises:
        InvalidName: packages are named in no form that is known, or by a digest.
    """
    if not isinstance(name, CondaName):
        return RegistryImage(reference_of(name, reference), platform)
    if isinstance(reference, Digest):
        raise InvalidName(f"conda/{name.path[:200]}: packages are named by a tag, not by a digest")
    return read_name(name.path, reference, site)
