"""Under which name a token is pulled, `<authority>/wt/<token>/<path>:<tag>`: what can be told of its plan in words."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

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
_EXTENSION = re.compile(r"(?:\.(?:lock|ya?ml|txt|json|toml))+$")
_BASE_PACKAGES = frozenset({"pip", "procps-ng", "which"})
"""What Wave, Nextflow and wavelet itself add to environments."""


def path_of(plan: Plan) -> str:
    """Return the repository path behind the token: the image's own, or `conda/` and names of packages."""
    part = next(parts(plan))
    if isinstance(part, FromRegistry):
        return part.reference.repository.path
    return _conda_path(_named(part))


def served_as(plan: Plan) -> str | Digest:
    """Return the tag, or the `Digest`, under which a token answers.

    An unchanged image keeps its digest. One whose bytes change cannot be asked for by the digest of its source, since
    engines compare that with what they get, so the digest goes into a tag: `sha256-<first 12 digits>`.
    """
    part = next(parts(plan))
    if not isinstance(part, FromRegistry):
        return _conda_tag(_named(part))
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


def is_called(path: str, plan: Plan) -> bool:
    """Tell whether a token is pulled by this repository path: names that were given stay good."""
    return path == path_of(plan) or path == _conda_path(_named_before(next(parts(plan))))


def tag_of(plan: Plan, path: str) -> str | None:
    """Return the tag that a token answers under one of its paths; None where it answers a digest."""
    if path != path_of(plan):
        return _conda_tag(_named_before(next(parts(plan))))
    served = served_as(plan)
    return None if isinstance(served, Digest) else served


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


_Named = list[tuple[str, str | None]]
"""Names and versions of packages."""


def _conda_path(named: _Named) -> str:
    names = [_component(name) for name, _ in named] or ["environment"]
    return "conda/" + "_".join(names[:_NAMES_SHOWN])


def _conda_tag(named: _Named) -> str:
    version = named[0][1] if len(named) == 1 else None
    return "latest" if version is None else re.sub(r"[^A-Za-z0-9._-]", "_", version)[:128]


def _named(part: Base) -> _Named:
    """Return what packages are called after: what was asked for by name; else a lock's file, or what it is about."""
    if not isinstance(part, FromConda):
        return []
    specs = _matched(part.specs)
    asked = [(name, version) for name, version in specs if name not in _BASE_PACKAGES] + _matched(part.pip)
    if asked:
        return asked
    if part.lock_location:
        return [(_file_of(part.lock_location), None)]
    if part.locked or part.wheels:
        return _of_lock(part)
    return specs


def _of_lock(part: FromConda) -> _Named:
    versions: dict[str, str | None] = {package.name: package.version for package in part.locked}
    if part.wheels and not part.leaves:
        return [(wheel.name, wheel.version) for wheel in part.wheels]
    return [(name, versions.get(name)) for name in part.leaves if name not in _BASE_PACKAGES]


def _file_of(location: str) -> str:
    """Return the name of a lock's file, without what says of which kind it is; else the host that it is at."""
    parts = urlsplit(location)
    return _EXTENSION.sub("", parts.path.rstrip("/").rpartition("/")[2]) or parts.netloc


def _named_before(part: Base) -> _Named:
    """Return what packages were called after before locks and requirements for pip counted."""
    specs = _matched(part.specs) if isinstance(part, FromConda) else []
    return [(name, version) for name, version in specs if name not in _BASE_PACKAGES] or specs


def _matched(texts: tuple[str, ...]) -> _Named:
    found = [match for match in map(_SPEC.match, texts) if match is not None]
    return [(match["name"], match["version"]) for match in found]


def _component(name: str) -> str:
    """Return a package's name as a part of a repository's (distribution-spec, "Pulling manifests")."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40] or "package"
