"""The notes on what a request asks for and does not get, which its log says: nothing is dropped. Pure.

What changes the image, and is not served, is refused instead (`wavelet.front.reading.checks`). What only tells clients
apart, or is shown again, needs no note: `timestamp`, `fingerprint`, `workflowId`.
"""

from __future__ import annotations

from collections.abc import Iterator

from wavelet.front.reading.options import named
from wavelet.front.reading.packages import is_clients_tool, template_of
from wavelet.front.reading.values import CompressionValues, ContainerValues, PackagesValues

VALUE_LIMIT = 200
"""Characters of a value that a note shows."""

_BUILT = "layers of packages are compressed by gzip, whose level is wavelet's"


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
