"""The reading of where an image goes: `freeze`, `mirror`, the repositories and `nameStrategy`. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import get_args

from wavelet.errors import InvalidName, InvalidRequest
from wavelet.front.reading.values import ConfigValues, ContainerValues
from wavelet.image.reference import Reference, Repository, looks_like_host, without_login
from wavelet.kinds.frozen.node import FrozenImage
from wavelet.kinds.mirrored.node import MirroredImage
from wavelet.plan.delivery import Strategy
from wavelet.plan.node import Node

Refusal = tuple[str, str]
"""A member, and why it is refused."""

STRATEGIES = tuple(filter(None, get_args(Strategy)))


def contradictions(values: ContainerValues) -> Iterator[Refusal]:
    """Yield what cannot be asked for together, or not so: a member's name, and why not."""
    for field, repository in _repositories(values):
        fault = form_fault(repository)
        if fault:
            yield field, fault
        elif values.freeze and "/" not in repository and looks_like_host(repository):
            yield (
                field,
                f"{repository[:200]!r} is a registry; say the repository too, as in '{repository[:200]}/frozen'",
            )
    if values.mirror:
        yield from _mirror_contradictions(values)


def _repositories(values: ContainerValues) -> Iterator[tuple[str, str]]:
    yield "buildRepository", values.build_repository
    yield "cacheRepository", values.cache_repository


def form_fault(repository: str) -> str:
    """Return what is wrong with how a repository, or registry, is written, beside its grammar; empty: nothing."""
    if "://" in repository:
        return "leave out the scheme, e.g. 'registry.example/team/containers'"
    return f"{repository[:200]!r} has a tag or a digest; leave that out" if has_tag(repository) else ""


def has_tag(repository: str) -> bool:
    """Tell whether a repository has a tag or a digest behind it; `host:5000` has a port."""
    first, slash, _ = repository.partition("/")
    last = repository.rpartition("/")[2]
    if not slash and looks_like_host(first) and first.rpartition(":")[2].isdecimal():
        return False
    return ":" in last or "@" in last


def _mirror_contradictions(values: ContainerValues) -> Iterator[Refusal]:
    for field, present in (
        ("freeze", values.freeze),
        ("containerFile", values.container_file is not None),
        ("packages", values.packages is not None),
        ("containerIncludes", bool(values.includes)),
        ("containerConfig", changes(values.config)),
    ):
        if present:
            yield field, "a mirror is an unchanged copy; leave this out, or leave out mirror"
    if not values.build_repository:
        yield "buildRepository", "is missing; a mirror needs the registry to copy to"


def changes(config: ConfigValues) -> bool:
    """Tell whether a configuration changes anything of an image."""
    return any((config.entrypoint, config.cmd, config.env, config.working_dir, config.layers))


def frozen(image: Node, values: ContainerValues) -> FrozenImage:
    """Return the plan of an image that is frozen.

    Raises:
        InvalidName: a repository breaks the grammar.
    """
    return FrozenImage(
        image,
        _repository(values.build_repository, "buildRepository"),
        next((each for each in get_args(Strategy) if each == values.name_strategy), ""),
        _repository(values.cache_repository, "cacheRepository") if values.packages or values.container_file else None,
    )


def mirrored(image: Node, reference: Reference, values: ContainerValues) -> MirroredImage:
    """Return the plan of an image that is mirrored; `reference` is it in its own registry.

    Raises:
        InvalidName: the target breaks the grammar.
        InvalidRequest: the target is at the registry that the image is at.
    """
    text = f"{values.build_repository.rstrip('/')}/{reference.repository.path}"
    repository = Reference.parse(text, "buildRepository").repository
    if repository.host == reference.repository.host:
        raise InvalidRequest(
            f"buildRepository: {repository.host} is where the image is already; a mirror is a copy at another registry",
            field="buildRepository",
        )
    return MirroredImage(image, repository)


def _repository(text: str, field: str) -> Repository | None:
    if not text:
        return None
    try:
        return Reference.parse(text).repository
    except InvalidName:
        raise InvalidName(
            f"{field}: {without_login(text[:200])!r} is not a repository; it takes [HOST[:PORT]/]PATH, and the path is "
            "lower-case letters, digits and . _ - between slashes",
            field=field,
        ) from None
