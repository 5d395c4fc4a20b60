"""The refusals and the notes of a request: what it asks for and does not get, so that nothing is dropped. Pure.

The order of the checks is that of their use to the reader: values that are never right, members that contradict each
other, members that this version does not serve. What has no effect on the image is noted; what only tells clients
apart, or is shown again, needs no note: `timestamp`, `fingerprint`, `workflowId`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from wavelet.errors import InvalidRequest, NotServed
from wavelet.front.reading.options import named
from wavelet.front.reading.packages import is_clients_tool, template_of
from wavelet.front.reading.values import CompressionValues, ConfigValues, ContainerValues, LayerValues, PackagesValues
from wavelet.image.reference import looks_like_host

VALUE_LIMIT = 200
"""Characters of a value that a note shows."""

_BUILT = "layers of packages are compressed by gzip, whose level is wavelet's"

INCLUDES_LIMIT = 10
"""Images whose layers a request can add, as in Wave."""

Refusal = tuple[str, str]
"""A member, and why it is refused."""

_NAME_STRATEGIES = ("none", "tagPrefix", "imageSuffix")
_SCAN_MODES = ("none", "async", "required")
_SCAN_LEVELS = ("LOW", "MEDIUM", "HIGH", "CRITICAL")
_COMPRESSIONS = ("gzip", "estargz", "zstd")


def check(values: ContainerValues, refusals: Iterable[Refusal] = ()) -> None:
    """Return if nothing of this kind is wrong with a request; `refusals` are contradictions that only its door knows.

    Raises:
        InvalidRequest: a member is wrong or contradicts another; it is named.
        NotServed: the request needs what this version does not have.
    """
    for field, value, allowed in _choices(values):
        if value not in allowed:
            raise InvalidRequest(f"{field}: {value!r} is not one of {', '.join(allowed)}", field=field)
    for contradictions in (refusals, _contradictions(values)):
        for field, why in contradictions:
            raise InvalidRequest(f"{field}: {why}", field=field)
    for field, why in _not_served(values):
        raise NotServed(f"{field}: {why}", field=field)


def _choices(values: ContainerValues) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Yield each member that has to be one of some words: its name, its value, the words."""
    if values.name_strategy:
        yield "nameStrategy", values.name_strategy, _NAME_STRATEGIES
    if values.scan_mode:
        yield "scanMode", values.scan_mode, _SCAN_MODES
    for index, level in enumerate(values.scan_levels):
        yield f"scanLevels[{index}]", level, _SCAN_LEVELS
    if values.compression is not None and values.compression.mode:
        yield "buildCompression.mode", values.compression.mode, _COMPRESSIONS


def _contradictions(values: ContainerValues) -> Iterator[Refusal]:
    """Yield what cannot be asked for together: a member's name, and why not."""
    for field, layer in _layers(values):
        if layer.data and layer.location:
            yield f"{field}.data", "cannot be given together with location; leave out one of them"
    for field, repository in (
        ("buildRepository", values.build_repository),
        ("cacheRepository", values.cache_repository),
    ):
        if "://" in repository:
            yield field, "leave out the scheme, e.g. 'registry.example/team/containers'"
        elif has_tag(repository):
            yield field, f"{repository[:200]!r} has a tag or a digest; leave that out"
    bases = (
        ("containerImage", bool(values.image)),
        ("containerFile", values.container_file is not None),
        ("packages", values.packages is not None),
    )
    given = [field for field, present in bases if present]
    if not given:
        yield "containerImage", "nothing to make a container from; give containerImage, containerFile or packages"
    if len(given) > 1:
        yield given[1], f"cannot be given together with {given[0]}; leave out one of them"
    if values.mirror:
        yield from _mirror_contradictions(values)
    if len(values.includes) > INCLUDES_LIMIT:
        yield "containerIncludes", f"names {len(values.includes)} images; {INCLUDES_LIMIT} are accepted"


def _layers(values: ContainerValues) -> Iterator[tuple[str, LayerValues]]:
    for index, layer in enumerate(values.config.layers):
        yield f"containerConfig.layers[{index}]", layer
    if values.build_context is not None:
        yield "buildContext", values.build_context


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
        ("containerConfig", _changes(values.config)),
    ):
        if present:
            yield field, "a mirror is an unchanged copy; leave this out, or leave out mirror"
    if not values.build_repository:
        yield "buildRepository", "is missing; a mirror needs the registry to copy to"


def _changes(config: ConfigValues) -> bool:
    return any((config.entrypoint, config.cmd, config.env, config.working_dir, config.layers))


def _not_served(values: ContainerValues) -> Iterator[Refusal]:
    """Yield what is right to ask for, but not of this version: a member's name, and what to do."""
    if values.mirror:
        yield "mirror", "this version of wavelet copies no images to other registries; switch mirroring off"
    if values.freeze:
        yield "freeze", "this version of wavelet pushes no images to other registries; switch freezing off"
    if values.has_spack_file:
        yield "spackFile", "this version of wavelet makes no images from Spack packages; use the conda directive"
    if values.conda_file is not None and values.container_file is None:
        yield "condaFile", "this version of wavelet reads it beside the container file that installs it, and alone not"
    if values.build_context is not None:
        yield "buildContext", "this version of wavelet runs no container files, and without one a context has no use"
    if values.format == "sif":
        yield "format", "this version of wavelet makes no SIF files; leave it out, Singularity and Apptainer convert"
    if values.scan_mode and values.scan_mode != "none":
        yield "scanMode", "this version of wavelet scans no images; leave it out or set it to none"


def notes_on(values: ContainerValues) -> tuple[str, ...]:
    """Return the notes on a request that is served: a sentence each, beginning with what the user has set."""
    return tuple(f"{named(field)}: {text}" for field, text in _notes(values))


def _notes(values: ContainerValues) -> Iterator[tuple[str, str]]:
    if values.build_repository:
        yield "buildRepository", f"{_shown(values.build_repository)} is not used: nothing is pushed without wave.freeze"
    if values.cache_repository:
        yield (
            "cacheRepository",
            f"{_shown(values.cache_repository)} is not used: layers are kept in the node's own store",
        )
    if values.compression is not None:
        yield from _compression(values.compression, built=_is_built(values))
    if values.name_strategy and values.name_strategy != "none":
        yield "nameStrategy", f"{values.name_strategy} is not used: only frozen images are named by it"
    if values.scan_levels and values.scan_mode in ("", "none"):
        yield "scanLevels", "is not used: nothing is scanned"
    if values.format and values.format not in ("docker", "oci"):
        yield "format", f"{_shown(values.format)} is not known: the image is an OCI image"
    if values.build_template and values.packages is None:
        yield "buildTemplate", f"{_shown(values.build_template)} is not used: it is for packages"
    if values.has_workspace:
        yield "towerWorkspaceId", "registry logins of the Seqera Platform are not used; `wavelet login` gives yours"
    if values.packages is not None:
        yield from _of_packages(values.packages, values.build_template)


def _is_built(values: ContainerValues) -> bool:
    return values.packages is not None or values.container_file is not None


def _compression(asked: CompressionValues, *, built: bool) -> Iterator[tuple[str, str]]:
    why = _BUILT if built else "the image's own layers stay as they are, and nothing is built"
    if asked.mode and asked.mode != "gzip":
        yield "buildCompression.mode", f"{asked.mode} is not used: {why}"
    if asked.level is not None:
        yield "buildCompression.level", f"{asked.level} is not used: {why}"
    if asked.force:
        yield "buildCompression.force", "is not used: layers of the base image stay as they are"


def _of_packages(packages: PackagesValues, template: str) -> Iterator[tuple[str, str]]:
    chosen = template_of(template)
    pixi = chosen is not None and chosen.startswith("conda/pixi")
    options = packages.conda_opts
    tool = options.mamba_image if options is not None else None
    if tool and not is_clients_tool(tool) and chosen != "conda/micromamba:v1":
        why = "no tool runs in the image; the image under the packages is wave.build.conda.baseImage"
        yield "packages.condaOpts.mambaImage", f"{_shown(tool)} is not used: {why}"
    if packages.pixi_opts is not None:
        if packages.pixi_opts.pixi_image:
            yield "packages.pixiOpts.pixiImage", f"{_shown(packages.pixi_opts.pixi_image)} is not used: no tool runs"
        if not pixi:
            yield "packages.pixiOpts", f"is not used: {chosen or 'no template'} is asked for, and no conda/pixi one"
    if packages.has_cran_opts:
        yield "packages.cranOpts", "is not used: these are conda packages"


def _shown(text: str) -> str:
    return text if len(text) <= VALUE_LIMIT else f"{text[:VALUE_LIMIT]}…"
