"""The values of a container request, read from its body, and its plan. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

from wavelet.front.base64_text import Base64Text
from wavelet.front.reading.container import read_container
from wavelet.front.reading.delivery import Refusal
from wavelet.front.reading.submission import Submission
from wavelet.front.reading.values import (
    CompressionValues,
    CondaOptsValues,
    ConfigValues,
    ContainerValues,
    LayerValues,
    PackagesValues,
)
from wavelet.front.wave import models
from wavelet.kinds.conda.model.package_request import CondaDefaults

WaveApi = Literal["v1", "v1alpha2"]
"""`POST /container-token`, and `POST /v1alpha2/container`."""


def translate(body: models.SubmitBody, api: WaveApi, site: CondaDefaults, *, as_sif: bool = False) -> Submission:
    """Return what `body` asks for, as a SIF if it has to be one. See `read_container` for `site` and the errors."""
    values = values_of(body)
    return read_container(replace(values, format="sif") if as_sif else values, site, _contradictions(body, api))


def values_of(body: models.SubmitBody) -> ContainerValues:
    """Return the values of a body."""
    platforms = body.container_platform.split(",") if body.container_platform else ()
    return ContainerValues(
        image=body.container_image or "",
        container_file=_text(body.container_file, "containerFile"),
        packages=None if body.packages is None else _packages(body.packages),
        platforms=[(text, "containerPlatform") for text in platforms],
        config=_config(body.container_config or models.ConfigBody()),
        includes=body.container_includes or (),
        conda_file=_text(body.conda_file, "condaFile"),
        build_context=None if body.build_context is None else _layer(body.build_context),
        build_repository=body.build_repository or "",
        cache_repository=body.cache_repository or "",
        build_template=body.build_template or "",
        compression=None if body.build_compression is None else _compression(body.build_compression),
        freeze=bool(body.freeze),
        mirror=bool(body.mirror),
        format=body.format or "",
        name_strategy=body.name_strategy or "",
        scan_mode=body.scan_mode or "",
        scan_levels=body.scan_levels or (),
        dry_run=bool(body.dry_run),
        fingerprint=body.fingerprint or "",
        timestamp=body.timestamp if isinstance(body.timestamp, str) else "",
        labels=body.labels or {},
        packs=body.packs or (),
        has_spack_file=bool(body.spack_file),
        is_file_empty=body.container_file == "" and not body.container_image,
        has_workspace=body.tower_workspace_id is not None,
    )


def _text(data: str | None, field: str) -> Base64Text | None:
    return Base64Text(data, field) if data else None


def _config(body: models.ConfigBody) -> ConfigValues:
    return ConfigValues(
        entrypoint=body.entrypoint or (),
        cmd=body.cmd or (),
        env=body.env or (),
        working_dir=body.working_dir or "",
        layers=[_layer(layer) for layer in body.layers or ()],
    )


def _layer(body: models.LayerBody) -> LayerValues:
    return LayerValues(
        location=body.location or "",
        gzip_digest=body.gzip_digest or "",
        gzip_size=body.gzip_size,
        tar_digest=body.tar_digest or "",
    )


def _compression(body: models.CompressionBody) -> CompressionValues:
    return CompressionValues(body.mode or "", body.level, bool(body.force))


def _packages(body: models.PackagesBody) -> PackagesValues:
    return PackagesValues(
        type=body.type or "",
        environment=_text(body.environment, "packages.environment"),
        entries=body.entries or (),
        channels=body.channels or (),
        conda_opts=_options(body.conda_opts),
        pixi_opts=_options(body.pixi_opts),
        has_cran_opts=bool(body.cran_opts),
        as_of=body.as_of or "",
    )


def _options(body: models.CondaOptsBody | None) -> CondaOptsValues | None:
    if body is None:
        return None
    return CondaOptsValues(
        mamba_image=body.mamba_image or "",
        commands=body.commands or (),
        base_packages=body.base_packages,
        base_image=body.base_image or "",
        pixi_image=body.pixi_image or "",
    )


def _contradictions(body: models.SubmitBody, api: WaveApi) -> Iterator[Refusal]:
    """Yield the members that the version of the API which was called does not have, and what to do."""
    if api == "v1":
        for field, present in (
            ("packages", body.packages is not None),
            ("nameStrategy", bool(body.name_strategy)),
            ("mirror", bool(body.mirror)),
        ):
            if present:
                yield field, "is not part of POST /container-token; use POST /v1alpha2/container"
    elif body.conda_file:
        yield "condaFile", "is not part of POST /v1alpha2/container; put the environment into packages.environment"
