"""The names of SIF files in URLs, taken apart. Pure.

<readable>--<token>.sif           a container request's; what stands before the token is for people
<name>:<tag>.sif                  any name that engines can pull, a platform behind the tag or not
<name>@sha256:<digits>.sif        by the digest of the image
https/<host>/<path>               the file that others publish at a URL, exactly that one

`.sif` may be left out behind a tag or a digest; without either, the tag is `latest`. A digest has no room for a
platform: that stands in the query.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from wavelet.errors import InvalidName, NotFound
from wavelet.front.registry.names import FrozenName, SifName, parse_name
from wavelet.front.registry.sif_plans import read_tag
from wavelet.image.reference import Digest, Platform, looks_like_host, valid_tag
from wavelet.kinds.conda.model.near_cache_names import LATEST
from wavelet.kinds.sif.published.node import PublishedSif, published_plan
from wavelet.plan.delivery import token_of
from wavelet.plan.node import tag_of_digest
from wavelet.plan.tokens import well_formed

SUFFIX = ".sif"
_UNUSUAL = re.compile(r"[^A-Za-z0-9_.:+=@-]")
_READABLE = re.compile(r"[A-Za-z0-9_.-]{1,255}")


@dataclass(frozen=True, slots=True)
class RequestedFile:
    """The file of a container request.

    Attributes:
        file_name: as which it is kept.
    """

    token: str
    file_name: str


@dataclass(frozen=True, slots=True)
class NamedFile:
    """The file of a name that engines can pull.

    Attributes:
        tag: the image's; `latest` where none is said.
        digest: which the image has to have, if that is said.
        platform: which one of the image, if that is said.
        file_name: as which it is kept.
    """

    name: SifName
    tag: str
    digest: Digest | None
    platform: Platform | None
    file_name: str


@dataclass(frozen=True, slots=True)
class PublishedFile:
    """The file at a URL.

    Attributes:
        path: by which it was asked for.
    """

    plan: PublishedSif
    path: str

    @property
    def file_name(self) -> str:
        """As which it is kept."""
        return _UNUSUAL.sub("_", self.plan.file_name)


FileName = RequestedFile | NamedFile | PublishedFile


def read_path(path: str, *, reserved: bool) -> FileName:
    """Take apart what follows `/sif/`. `reserved` is whether the special first components are in force.

    Raises:
        InvalidName, InvalidDigest, InvalidRequest: it follows no grammar.
        ImageNotFound: no images are made for the platform.
        NotFound: it is no file's name.
    """
    scheme, host, file = [*path.split("/", 2), "", ""][:3]
    if scheme in ("http", "https") and file and looks_like_host(host):
        return PublishedFile(published_plan(path), path)
    bare = path.removesuffix(SUFFIX)
    token = token_of(bare)
    if bare != path and well_formed(token) and _READABLE.fullmatch(bare):
        return RequestedFile(token, path)
    rest, at, digest = bare.partition("@")
    repository, colon, tag = rest.rpartition(":")
    if not colon or "/" in tag:
        repository, tag = rest, ""
    if not (at or tag or bare != path):
        raise NotFound(f"/sif/{path[:300]} is no name of a SIF: it ends in {SUFFIX}, or has a tag or a digest")
    if tag and not valid_tag(tag):
        raise InvalidName(f"{tag[:128]!r} is not a tag")
    return _named(repository, tag, Digest.parse(digest) if at else None, reserved=reserved)


def _named(repository: str, tag: str, digest: Digest | None, *, reserved: bool) -> NamedFile:
    of = parse_name(repository, None, reserved=reserved)
    if isinstance(of, SifName):
        raise InvalidName(f"/sif/{repository[:300]}: says sif/ twice")
    own, platform = read_tag(tag or LATEST)
    last = repository.rpartition("/")[2]
    # The tag of a frozen image is all of its name; it says more than a digest.
    shown = tag or LATEST if digest is None or isinstance(of, FrozenName) else tag_of_digest(digest)
    return NamedFile(SifName(of), own, digest, platform, f"{last}_{shown}{SUFFIX}")
