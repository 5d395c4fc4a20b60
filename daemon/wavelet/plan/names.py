"""Under which name a token is pulled, `<authority>/wt/<token>/<path>:<tag>`: what can be told of its plan in words."""

from __future__ import annotations

import re

from wavelet.errors import InvalidName
from wavelet.image.digest import Digest
from wavelet.plan.conda import FromConda
from wavelet.plan.plan import Base, Plan, parts
from wavelet.plan.source import FromRegistry

_TOKEN_LENGTH = 32
_ENGINE_LIMIT = 255
"""Characters of host and repository path together that engines accept (distribution/reference, NameTotalLengthMax)."""

_NAMES_SHOWN = 4
"""Packages that the name of an environment shows; further ones are in the token alone."""

_SPEC = re.compile(r"(?:.*::)?(?P<name>[A-Za-z0-9._-]+)(?:\s*==?\s*(?P<version>[A-Za-z0-9._!+]+)(?:=.*)?)?")
_BASE_PACKAGES = frozenset({"pip", "procps-ng", "which"})
"""What Wave, Nextflow and wavelet itself add to environments."""


def path_of(plan: Plan) -> str:
    """Return the repository path behind the token: the image's own, or `conda/` and names of packages."""
    part = next(parts(plan))
    if isinstance(part, FromRegistry):
        return part.reference.repository.path
    names = [_component(name) for name, _ in _named(part)] or ["environment"]
    return "conda/" + "_".join(names[:_NAMES_SHOWN])


def served_as(plan: Plan) -> str | Digest:
    """Return the tag, or the `Digest`, under which a token answers.

    An unchanged image keeps its digest. One whose bytes change cannot be asked for by the digest of its source, since
    engines compare that with what they get, so the digest goes into a tag: `sha256-<first 12 digits>`.
    """
    part = next(parts(plan))
    if not isinstance(part, FromRegistry):
        named = _named(part)
        version = named[0][1] if len(named) == 1 else None
        return "latest" if version is None else re.sub(r"[^A-Za-z0-9._-]", "_", version)[:128]
    reference = part.reference
    if reference.digest is None:
        return reference.tag or "latest"
    if isinstance(plan, FromRegistry) and plan.platform is None:
        return reference.digest
    return f"{reference.digest.algorithm}-{reference.digest.hex[:12]}"


def pull_name(authority: str, token: str, plan: Plan) -> str:
    """Return the name under which engines pull what a container request asks for."""
    reference = served_as(plan)
    mark = "@" if isinstance(reference, Digest) else ":"
    return f"{authority}/wt/{token}/{path_of(plan)}{mark}{reference}"


def check_length(authority: str, plan: Plan) -> None:
    """Make sure that engines accept the name.

    Raises:
        InvalidName: with the token in front of it the repository's name is too long for them.
    """
    path = path_of(plan)
    room = _ENGINE_LIMIT - len(f"{authority}/wt/{'0' * _TOKEN_LENGTH}/")
    if len(path) > room:
        raise InvalidName(
            f"containerImage: the repository path has {len(path)} characters; behind a token, container engines take "
            f"{room} at most, so pull this image by its own name",
            field="containerImage",
        )


def _named(part: Base) -> list[tuple[str, str | None]]:
    """Return names and versions of the packages that are asked for by name."""
    if not isinstance(part, FromConda):
        return []
    found = [match for match in map(_SPEC.match, part.specs) if match is not None]
    named = [(match["name"], match["version"]) for match in found if match["name"] not in _BASE_PACKAGES]
    return named or [(match["name"], match["version"]) for match in found]


def _component(name: str) -> str:
    """Return a package's name as a part of a repository's (distribution-spec, "Pulling manifests")."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40] or "package"
