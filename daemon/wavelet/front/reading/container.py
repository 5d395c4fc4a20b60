"""The reading of a container request: what any door got becomes a plan, or a sentence that says what is wrong. Pure.

The order of the checks is that of their use to the reader: values that are never right, members that contradict each
other, members that this version does not serve. What has no effect on the image is noted; what only tells clients
apart, or is shown again, needs no note: `timestamp`, `fingerprint`, `workflowId`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Literal

from wavelet.errors import InvalidRequest, NotServed, TooLarge
from wavelet.front.reading import delivery, published
from wavelet.front.reading.conda_container_file import recognised
from wavelet.front.reading.delivery import Refusal
from wavelet.front.reading.members import is_clients_tool, read_layers, read_packages, template_of
from wavelet.front.reading.options import named
from wavelet.front.reading.submission import Submission, check_labels
from wavelet.front.reading.values import CompressionValues, ConfigValues, ContainerValues, LayerValues, PackagesValues
from wavelet.image.image import merge_env
from wavelet.image.reference import DEFAULT_PLATFORM, Digest, Platform, Reference, without_login
from wavelet.kinds.augment.node import AugmentedImage
from wavelet.kinds.conda.model.package_request import CondaDefaults, PackageRequest
from wavelet.kinds.index.node import ImageIndex
from wavelet.kinds.registry_image.node import RegistryImage
from wavelet.kinds.sif.node import SifImage
from wavelet.plan.node import ContainerConfig, Node
from wavelet.requests.request import About

VALUE_LIMIT = 200
"""Characters of a value that a note shows."""

_BUILT = "layers of packages are compressed by gzip, whose level is wavelet's"

INCLUDES_LIMIT = 10
"""Images whose layers a request can add, as in Wave."""

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
    for contradictions in (refusals, _contradictions(values), published.refusals(values)):
        for field, why in contradictions:
            raise InvalidRequest(f"{field}: {why}", field=field)
    for field, why in _not_served(values):
        raise NotServed(f"{field}: {why}", field=field)


def _choices(values: ContainerValues) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Yield each member that has to be one of some words: its name, its value, the words."""
    if values.name_strategy:
        yield "nameStrategy", values.name_strategy, delivery.STRATEGIES
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
    bases = (
        ("containerImage", bool(values.image)),
        ("containerFile", values.container_file is not None),
        ("packages", values.packages is not None),
    )
    given = [field for field, present in bases if present]
    if not given:
        yield _nothing_given(values)
    if len(given) > 1:
        yield given[1], f"cannot be given together with {given[0]}; leave out one of them"
    if values.format == "sif" and len(values.platforms) > 1:
        yield values.platforms[0][1], "a SIF is for one platform; ask for one of them at a time"
    yield from delivery.contradictions(values)
    if len(values.includes) > INCLUDES_LIMIT:
        yield "containerIncludes", f"names {len(values.includes)} images; {INCLUDES_LIMIT} are accepted"


def _nothing_given(values: ContainerValues) -> Refusal:
    """Return what is said where there is nothing to make a container from: of the member that was sent, if one was."""
    give = "give containerImage, containerFile or packages"
    if values.is_file_empty:
        return "containerFile", f"is empty, and nothing else says what to make a container from; {give}"
    return "containerImage", f"nothing to make a container from; {give}"


def _layers(values: ContainerValues) -> Iterator[tuple[str, LayerValues]]:
    for index, layer in enumerate(values.config.layers):
        yield f"containerConfig.layers[{index}]", layer
    if values.build_context is not None:
        yield "buildContext", values.build_context


def _not_served(values: ContainerValues) -> Iterator[Refusal]:
    """Yield what is right to ask for, but not of this version: a member's name, and what to do."""
    if values.has_spack_file:
        yield "spackFile", "this version of wavelet makes no images from Spack packages; use the conda directive"
    if values.conda_file is not None and values.container_file is None:
        yield "condaFile", "this version of wavelet reads it beside the container file that installs it, and alone not"
    if values.build_context is not None:
        yield "buildContext", "this version of wavelet runs no container files, and without one a context has no use"
    if values.scan_mode and values.scan_mode != "none":
        yield "scanMode", "this version of wavelet scans no images; leave it out or set it to none"


def notes_on(values: ContainerValues) -> tuple[str, ...]:
    """Return the notes on a request that is served: a sentence each, beginning with what the user has set."""
    return tuple(f"{named(field)}: {text}" for field, text in _notes(values))


def _notes(values: ContainerValues) -> Iterator[tuple[str, str]]:
    if values.build_repository and not (values.freeze or values.mirror):
        yield "buildRepository", f"{_shown(values.build_repository)} is not used: nothing is pushed without wave.freeze"
    if values.cache_repository and not (values.freeze and _is_built(values)):
        yield "cacheRepository", f"{_shown(values.cache_repository)} is not used: it is for frozen packages"
    if values.compression is not None:
        yield from _compression(values.compression, built=_is_built(values))
    if values.name_strategy not in ("", "none") and not values.freeze:
        yield "nameStrategy", f"{values.name_strategy} is not used: only frozen images are named by it"
    if values.scan_levels and values.scan_mode in ("", "none"):
        yield "scanLevels", "is not used: nothing is scanned"
    if values.format and values.format not in ("docker", "oci", "sif"):
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
    return without_login(text if len(text) <= VALUE_LIMIT else f"{text[:VALUE_LIMIT]}…")


Api = Literal["v1", "v1alpha2", "grpc"]
"""`POST /container-token`, `POST /v1alpha2/container`, and `ContainerService/Resolve`."""

TEXT_LIMIT = 256 * 1024
"""Characters of environment and commands together; a process gets a few megabytes at the most, records stay small."""

SHOWN_LIMIT = 64
"""Characters of a member that is only kept to be shown again."""


def read_container(values: ContainerValues, site: CondaDefaults, refusals: Iterable[Refusal] = ()) -> Submission:
    """Return what a request asks for.

    Args:
        values: the request.
        site: what packages get that the request does not say.
        refusals: what only its door knows to be wrong.

    Raises:
        InvalidRequest: a member is wrong or contradicts another; it is named.
        InvalidName: an image's name breaks the grammar.
        DigestMismatch: an inline layer is not what the request says it is.
        TooLarge: a member, or the inline layers together.
        NotServed: the request needs what this version does not have.
    """
    check(values, refusals)
    check_labels(values.labels)
    return replace(
        _read(values, site),
        labels=dict(values.labels),
        packs=tuple(values.packs),
        is_container_file=values.container_file is not None,
        has_platform=bool(values.platforms),
    )


def _read(values: ContainerValues, site: CondaDefaults) -> Submission:
    asked = _asked(values)
    file = published.file_of(values)
    named_here = asked is None and file is None
    reference = Reference.parse(published.image_of(values), "containerImage") if named_here else None
    platforms = tuple(dict.fromkeys(Platform.parse(text, field) for text, field in values.platforms))
    platforms = platforms or (DEFAULT_PLATFORM,)
    config, inline = _config(values.config)
    texts = enumerate(values.includes)
    includes = [_fixed(Reference.parse(text, f"containerIncludes[{index}]")) for index, text in texts]
    notes = notes_on(values)
    if file is not None:
        return Submission(_delivered(file, platforms, values), file.url, inline, values.dry_run, notes, True)
    if asked is None:
        assert reference is not None
        if values.mirror:
            plan = _as_file(delivery.mirrored(RegistryImage(_fixed(reference)), reference, values), platforms, values)
        else:
            plan = _delivered(_of_image(_fixed(reference), platforms, config, includes), platforms, values)
        return Submission(plan, str(reference), inline, values.dry_run, notes, values.format == "sif")
    notes += tuple(f"{named(asked.field)}: {note}" for note in asked.environment.notes)
    config = replace(config, env=tuple(merge_env([*asked.environment.variables, *config.env])))
    packages = _plan(lambda platform: asked.plan(platform, site), platforms, config, includes)
    plan = _delivered(packages, platforms, values)
    return Submission(plan, plan.label.text, inline, values.dry_run, notes, values.format == "sif")


def _delivered(image: Node, platforms: tuple[Platform, ...], values: ContainerValues) -> Node:
    """Return an image as it is asked for: what is frozen of a SIF is that file."""
    image = _as_file(image, platforms, values)
    return delivery.frozen(image, values) if values.freeze else image


def _as_file(image: Node, platforms: tuple[Platform, ...], values: ContainerValues) -> Node:
    return SifImage(image, platforms[0]) if values.format == "sif" else image


def named_in(values: ContainerValues) -> str:
    """Return in a few words what a request asks for, right or wrong."""
    if values.packages is not None:
        return " ".join(values.packages.entries) or "packages"
    return values.image or ("a container file" if values.container_file is not None else "")


def about_of(values: ContainerValues, api: Api, image: str, address: str, notes: tuple[str, ...] = ()) -> About:
    """Return what is kept of a request to be shown again; `address` is the client's."""
    return About(
        api=api,
        image=without_login(image),
        fingerprint=values.fingerprint[:SHOWN_LIMIT] or None,
        timestamp=values.timestamp[:SHOWN_LIMIT] or None,
        address=address,
        notes=notes,
    )


def _asked(values: ContainerValues) -> PackageRequest | None:
    """Return the packages that a request asks for; None where it asks for an image."""
    if values.packages is not None:
        return read_packages(values.packages, values.build_template)
    if values.container_file is None:
        return None
    conda_file = None if values.conda_file is None else values.conda_file.read()
    asked = recognised(values.container_file.read(), conda_file)
    if asked is None:
        message = "containerFile: this version of wavelet runs no container files; name an image, or packages of conda"
        raise NotServed(message, field="containerFile")
    return asked


def _of_image(
    image: Reference, platforms: tuple[Platform, ...], config: ContainerConfig, includes: list[Reference]
) -> Node:
    if image.digest is not None and len(platforms) == 1 and not config and not includes:
        # What a digest names is answered as it is, an index too: engines compare the digest with the bytes.
        return RegistryImage(image)
    return _plan(lambda platform: RegistryImage(image, platform), platforms, config, includes)


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


def _config(asked: ConfigValues) -> tuple[ContainerConfig, dict[Digest, bytes]]:
    for member, texts in (("entrypoint", asked.entrypoint), ("cmd", asked.cmd), ("env", asked.env)):
        _without_nul(texts, f"containerConfig.{member}")
    _without_nul([asked.working_dir], "containerConfig.workingDir")
    length = sum(map(len, (*asked.entrypoint, *asked.cmd, *asked.env, asked.working_dir)))
    if length > TEXT_LIMIT:
        message = f"containerConfig: {length} characters of environment and commands; {TEXT_LIMIT} are the most"
        raise TooLarge(message, field="containerConfig")
    for index, entry in enumerate(asked.env):
        if not entry.partition("=")[0]:
            field = f"containerConfig.env[{index}]"
            raise InvalidRequest(f"{field}: {entry!r} has no name; it takes NAME=VALUE", field=field)
    if asked.working_dir and not asked.working_dir.startswith("/"):
        field = "containerConfig.workingDir"
        message = f"{field}: {asked.working_dir[:200]!r} is not an absolute path; container engines refuse any other"
        raise InvalidRequest(message, field=field)
    layers, inline = read_layers(asked.layers, "containerConfig.layers")
    config = ContainerConfig(
        tuple(asked.entrypoint),
        tuple(asked.cmd),
        tuple(merge_env(asked.env)),
        asked.working_dir,
        layers,
        tuple(sorted(asked.labels.items())),
    )
    return config, inline


def _without_nul(texts: Iterable[str], field: str) -> None:
    if any("\0" in text for text in texts):
        raise InvalidRequest(f"{field}: holds a NUL character, which no process can be given", field=field)
