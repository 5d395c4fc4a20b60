"""What a request asks for and does not get: each is said in the log of the request, so that nothing is dropped. Pure.

What changes the image, and is not served, is refused instead (`wavelet.front.wave.translate`). What only tells clients
apart, or is shown again, needs no note: `timestamp`, `fingerprint`, `workflowId`.
"""

from __future__ import annotations

from collections.abc import Iterator

from wavelet.front.wave.models import CompressionBody, PackagesBody, SubmitBody
from wavelet.front.wave.options import named
from wavelet.front.wave.packages import is_clients_tool, template_of

VALUE_LIMIT = 200
"""Characters of a value that a note shows."""

_BUILT = "layers of packages are compressed by gzip, whose level is wavelet's"


def notes_on(body: SubmitBody) -> tuple[str, ...]:
    """Return the notes on a request that is served: a sentence each, beginning with what the user has set."""
    return tuple(f"{named(field)}: {text}" for field, text in _notes(body))


def _notes(body: SubmitBody) -> Iterator[tuple[str, str]]:
    if body.build_repository:
        yield "buildRepository", f"{_shown(body.build_repository)} is not used: nothing is pushed without wave.freeze"
    if body.cache_repository:
        yield "cacheRepository", f"{_shown(body.cache_repository)} is not used: layers are kept in the node's own store"
    if body.build_compression is not None:
        yield from _compression(body.build_compression, built=_is_built(body))
    if body.name_strategy and body.name_strategy != "none":
        yield "nameStrategy", f"{body.name_strategy} is not used: only frozen images are named by it"
    if body.scan_levels and body.scan_mode in (None, "", "none"):
        yield "scanLevels", "is not used: nothing is scanned"
    if body.format and body.format not in ("docker", "oci"):
        yield "format", f"{_shown(body.format)} is not known: the image is an OCI image"
    if body.build_template and body.packages is None:
        yield "buildTemplate", f"{_shown(body.build_template)} is not used: it is for packages"
    if body.tower_workspace_id is not None:
        yield "towerWorkspaceId", "registry logins of the Seqera Platform are not used; `wavelet login` gives yours"
    if body.packages is not None:
        yield from _of_packages(body.packages, body.build_template)


def _is_built(body: SubmitBody) -> bool:
    return body.packages is not None or bool(body.container_file)


def _compression(asked: CompressionBody, *, built: bool) -> Iterator[tuple[str, str]]:
    why = _BUILT if built else "the image's own layers stay as they are, and nothing is built"
    if asked.mode and asked.mode != "gzip":
        yield "buildCompression.mode", f"{asked.mode} is not used: {why}"
    if asked.level is not None:
        yield "buildCompression.level", f"{asked.level} is not used: {why}"
    if asked.force:
        yield "buildCompression.force", "is not used: layers of the base image stay as they are"


def _of_packages(packages: PackagesBody, template: str | None) -> Iterator[tuple[str, str]]:
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
    if packages.cran_opts:
        yield "packages.cranOpts", "is not used: these are conda packages"


def _shown(text: str) -> str:
    return text if len(text) <= VALUE_LIMIT else f"{text[:VALUE_LIMIT]}…"
