"""From a container request's body to a plan. Pure.

The order of the checks is that of their use to the reader: values that are never right, members that contradict each
other, members that this version does not serve, and then the image itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from wavelet.errors import InvalidRequest, NotServed, TooLarge
from wavelet.front.wave.base64_text import decoded
from wavelet.front.wave.container_file import recognised
from wavelet.front.wave.layers import read_layers
from wavelet.front.wave.models import ConfigBody, SubmitBody
from wavelet.front.wave.notes import notes_on
from wavelet.front.wave.options import named
from wavelet.front.wave.packages import read_packages
from wavelet.image.config import merge_env
from wavelet.image.digest import Digest
from wavelet.image.platform import DEFAULT_PLATFORM, Platform
from wavelet.image.reference import Reference, looks_like_host
from wavelet.kinds.augment.node import AugmentedImage
from wavelet.kinds.conda.model.asked import CondaDefaults, PackageRequest
from wavelet.kinds.index.node import ImageIndex
from wavelet.kinds.registry_image.node import RegistryImage
from wavelet.plan.description import ContainerConfig
from wavelet.plan.names import path_of, served_as
from wavelet.plan.node import Node
from wavelet.requests.container_request import About

Api = Literal["v1", "v1alpha2", "grpc"]
"""`POST /container-token`, `POST /v1alpha2/container`, and `ContainerService/Resolve`."""

INCLUDES_LIMIT = 10
"""Images whose layers a request can add, as in Wave."""

TEXT_LIMIT = 256 * 1024
"""Characters of environment and commands together; a process gets a few megabytes at the most, records stay small."""

SHOWN_LIMIT = 64
"""Characters of a member that is only kept to be shown again."""

_NAME_STRATEGIES = ("none", "tagPrefix", "imageSuffix")
_SCAN_MODES = ("none", "async", "required")
_SCAN_LEVELS = ("LOW", "MEDIUM", "HIGH", "CRITICAL")
_COMPRESSIONS = ("gzip", "estargz", "zstd")


@dataclass(frozen=True, slots=True)
class Submission:
    """What a body asks for.

    Attributes:
        plan: the image.
        image: the source image, normalised, as it was asked for; of packages, what the plan is called.
        inline: the bytes of the plan's inline layers.
        dry_run: whether only the name is wanted.
        notes: what is asked for and has no effect here, or another one than it says.
    """

    plan: Node
    image: str
    inline: Mapping[Digest, bytes]
    dry_run: bool
    notes: tuple[str, ...] = ()


def translate(body: SubmitBody, api: Api, site: CondaDefaults) -> Submission:
    """Return what `body` asks for. `site` has what packages get that the body does not say.

    Raises:
        InvalidRequest: a member is wrong or contradicts another; it is named.
        InvalidName: an image's name breaks the grammar.
        DigestMismatch: an inline layer is not what the request says it is.
        TooLarge: a member, or the inline layers together.
        NotServed: the request needs what this version does not have.
    """
    for field, value, allowed in _choices(body):
        if value not in allowed:
            raise InvalidRequest(f"{field}: {value!r} is not one of {', '.join(allowed)}", field=field)
    for field, why in _contradictions(body, api):
        raise InvalidRequest(f"{field}: {why}", field=field)
    for field, why in _not_served(body):
        raise NotServed(f"{field}: {why}", field=field)
    asked = _asked(body)
    reference = None if asked is not None else Reference.parse(body.container_image or "", "containerImage")
    platforms = _platforms(body.container_platform)
    config, inline = _config(body.container_config or ConfigBody())
    texts = enumerate(body.container_includes or ())
    includes = [_fixed(Reference.parse(text, f"containerIncludes[{index}]")) for index, text in texts]
    notes = notes_on(body)
    if asked is None:
        assert reference is not None
        plan = _of_image(_fixed(reference), platforms, config, includes)
        return Submission(plan, str(reference), inline, bool(body.dry_run), notes)
    notes += tuple(f"{named(asked.field)}: {note}" for note in asked.environment.notes)
    config = replace(config, env=tuple(merge_env([*asked.environment.variables, *config.env])))
    plan = _plan(lambda platform: asked.plan(platform, site), platforms, config, includes)
    return Submission(plan, f"{path_of(plan)}:{served_as(plan)}", inline, bool(body.dry_run), notes)


def named_in(body: SubmitBody) -> str:
    """Return in a few words what a body asks for, right or wrong."""
    if body.packages is not None:
        return " ".join(body.packages.entries or ()) or "packages"
    return body.container_image or ("a container file" if body.container_file else "")


def about_of(body: SubmitBody, api: Api, image: str, address: str, notes: tuple[str, ...] = ()) -> About:
    """Return what is kept of a body to be shown again; `address` is the client's."""
    timestamp = body.timestamp if isinstance(body.timestamp, str) else None
    return About(
        api=api,
        image=image,
        fingerprint=(body.fingerprint or "")[:SHOWN_LIMIT] or None,
        timestamp=(timestamp or "")[:SHOWN_LIMIT] or None,
        address=address,
        notes=notes,
    )


def _asked(body: SubmitBody) -> PackageRequest | None:
    """Return the packages that a body asks for; None where it asks for an image."""
    if body.packages is not None:
        return read_packages(body.packages, body.build_template)
    if not body.container_file:
        return None
    conda_file = decoded(body.conda_file, "condaFile") if body.conda_file else None
    asked = recognised(decoded(body.container_file, "containerFile"), conda_file)
    if asked is None:
        message = "containerFile: this version of wavelet runs no container files; name an image, or packages of conda"
        raise NotServed(message, field="containerFile")
    return asked


def _of_image(
    image: Reference, platforms: tuple[Platform, ...], config: ContainerConfig, includes: list[Reference]
) -> Node:
    plan = _plan(lambda platform: RegistryImage(image, platform), platforms, config, includes)
    # What a digest names is answered as it is, an index too: engines compare the digest with the bytes.
    return RegistryImage(image) if isinstance(plan, RegistryImage) and image.digest is not None else plan


def _plan(
    base_for: Callable[[Platform], Node],
    platforms: tuple[Platform, ...],
    config: ContainerConfig,
    includes: list[Reference],
) -> Node:
    def member(platform: Platform) -> Node | AugmentedImage:
        base = base_for(platform)
        if not config and not includes:
            return base
        return AugmentedImage(base, config, tuple(RegistryImage(include, platform) for include in includes))

    if len(platforms) > 1:
        return ImageIndex(tuple((platform, member(platform)) for platform in sorted(platforms)))
    return member(platforms[0])


def _fixed(reference: Reference) -> Reference:
    return reference if reference.digest is None else reference.at(reference.digest)


def _platforms(text: str | None) -> tuple[Platform, ...]:
    return Platform.parse_all(text) if text else (DEFAULT_PLATFORM,)


def _config(body: ConfigBody) -> tuple[ContainerConfig, dict[Digest, bytes]]:
    for member, texts in (("entrypoint", body.entrypoint), ("cmd", body.cmd), ("env", body.env)):
        _without_nul(texts or (), f"containerConfig.{member}")
    _without_nul([body.working_dir or ""], "containerConfig.workingDir")
    length = sum(map(len, (*(body.entrypoint or ()), *(body.cmd or ()), *(body.env or ()), body.working_dir or "")))
    if length > TEXT_LIMIT:
        message = f"containerConfig: {length} characters of environment and commands; {TEXT_LIMIT} are the most"
        raise TooLarge(message, field="containerConfig")
    for index, entry in enumerate(body.env or ()):
        if not entry.partition("=")[0]:
            field = f"containerConfig.env[{index}]"
            raise InvalidRequest(f"{field}: {entry!r} has no name; it takes NAME=VALUE", field=field)
    if body.working_dir and not body.working_dir.startswith("/"):
        field = "containerConfig.workingDir"
        message = f"{field}: {body.working_dir[:200]!r} is not an absolute path; container engines refuse any other"
        raise InvalidRequest(message, field=field)
    layers, inline = read_layers(body.layers or (), "containerConfig.layers")
    config = ContainerConfig(
        tuple(body.entrypoint or ()),
        tuple(body.cmd or ()),
        tuple(merge_env(body.env or ())),
        body.working_dir or "",
        layers,
    )
    return config, inline


def _without_nul(texts: Iterable[str], field: str) -> None:
    if any("\0" in text for text in texts):
        raise InvalidRequest(f"{field}: holds a NUL character, which no process can be given", field=field)


def _choices(body: SubmitBody) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Yield each member that has to be one of some words: its name, its value, the words."""
    if body.name_strategy:
        yield "nameStrategy", body.name_strategy, _NAME_STRATEGIES
    if body.scan_mode:
        yield "scanMode", body.scan_mode, _SCAN_MODES
    for index, level in enumerate(body.scan_levels or ()):
        yield f"scanLevels[{index}]", level, _SCAN_LEVELS
    if body.build_compression is not None and body.build_compression.mode:
        yield "buildCompression.mode", body.build_compression.mode, _COMPRESSIONS


def _contradictions(body: SubmitBody, api: Api) -> Iterator[tuple[str, str]]:
    """Yield what cannot be asked for together: a member's name, and why not."""
    if api == "v1":
        for field, present in _v2_members(body):
            if present:
                yield field, "is not part of POST /container-token; use POST /v1alpha2/container"
    elif body.conda_file and api == "v1alpha2":
        yield "condaFile", "is not part of POST /v1alpha2/container; put the environment into packages.environment"
    for field, repository in (("buildRepository", body.build_repository), ("cacheRepository", body.cache_repository)):
        if "://" in (repository or ""):
            yield field, "leave out the scheme, e.g. 'registry.example/team/containers'"
        elif has_tag(repository or ""):
            yield (
                field,
                f"{(repository or '')[:200]!r} has a tag or a digest; leave that out",
            )
    bases = (
        ("containerImage", bool(body.container_image)),
        ("containerFile", bool(body.container_file)),
        ("packages", body.packages is not None),
    )
    given = [field for field, present in bases if present]
    if not given:
        yield "containerImage", "nothing to make a container from; give containerImage, containerFile or packages"
    if len(given) > 1:
        yield given[1], f"cannot be given together with {given[0]}; leave out one of them"
    if body.mirror:
        yield from _mirror_contradictions(body)
    if len(body.container_includes or ()) > INCLUDES_LIMIT:
        yield "containerIncludes", f"names {len(body.container_includes or ())} images; {INCLUDES_LIMIT} are accepted"


def has_tag(repository: str) -> bool:
    """Tell whether a repository has a tag or a digest behind it; `host:5000` has a port."""
    first, slash, _ = repository.partition("/")
    last = repository.rpartition("/")[2]
    if not slash and looks_like_host(first) and first.rpartition(":")[2].isdecimal():
        return False
    return ":" in last or "@" in last


def _v2_members(body: SubmitBody) -> Iterator[tuple[str, bool]]:
    yield "packages", body.packages is not None
    yield "nameStrategy", bool(body.name_strategy)
    yield "mirror", bool(body.mirror)


def _mirror_contradictions(body: SubmitBody) -> Iterator[tuple[str, str]]:
    config = body.container_config or ConfigBody()
    changed = any((config.entrypoint, config.cmd, config.env, config.working_dir, config.layers))
    for field, present in (
        ("freeze", body.freeze),
        ("containerFile", body.container_file),
        ("packages", body.packages is not None),
        ("containerIncludes", body.container_includes),
        ("containerConfig", changed),
    ):
        if present:
            yield field, "a mirror is an unchanged copy; leave this out, or leave out mirror"
    if not body.build_repository:
        yield "buildRepository", "is missing; a mirror needs the registry to copy to"


def _not_served(body: SubmitBody) -> Iterator[tuple[str, str]]:
    """Yield what is right to ask for, but not of this version: a member's name, and what to do."""
    if body.mirror:
        yield "mirror", "this version of wavelet copies no images to other registries; switch mirroring off"
    if body.freeze:
        yield "freeze", "this version of wavelet pushes no images to other registries; switch freezing off"
    if body.spack_file:
        yield "spackFile", "this version of wavelet makes no images from Spack packages; use the conda directive"
    if body.conda_file and not body.container_file:
        yield "condaFile", "this version of wavelet reads it beside the container file that installs it, and alone not"
    if body.build_context is not None:
        yield "buildContext", "this version of wavelet runs no container files, and without one a context has no use"
    if body.format == "sif":
        yield "format", "this version of wavelet makes no SIF files; leave it out, Singularity and Apptainer convert"
    if body.scan_mode and body.scan_mode != "none":
        yield "scanMode", "this version of wavelet scans no images; leave it out or set it to none"
