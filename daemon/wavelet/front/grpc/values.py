"""The values of container requests, read from messages, and their plans. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from wavelet.errors import CallerError, InvalidRequest
from wavelet.front.reading.container import read_container
from wavelet.front.reading.submission import Submission
from wavelet.front.reading.values import (
    CompressionValues,
    CondaOptsValues,
    ConfigValues,
    ContainerValues,
    LayerValues,
    PackagesValues,
    PlainText,
)
from wavelet.kinds.conda.model.package_request import CondaDefaults
from wavelet.plan.node import Node, parts
from wavelet.v1 import containers_pb2 as pb

_BESIDE_NAME = ("auth", "dry_run", "refresh", "wait", "name", "fingerprint", "timestamp", "labels")
"""What a request by name can have: the name says all else."""

_THEIRS, _OURS = "containerPlatform", "platforms"


def submission(request: pb.ResolveRequest, site: CondaDefaults) -> Submission:
    """Return what a request asks for that is made of anything but a name. See `read_container` for the errors."""
    if request.WhichOneof("source") is None:
        message = "containerImage: nothing to make a container from; give it, containerFile, packages or name"
        raise InvalidRequest(message, field="containerImage")
    return _read(values_of(request), site, _OURS)


def packages_plan(packages: pb.Packages, platform: str, site: CondaDefaults) -> Node:
    """Return the plan of packages alone, for a platform.

    Raises:
        CallerError: as `read_container`.
    """
    platforms = ((platform, "platform"),) if platform else ()
    values = ContainerValues(packages=_packages(packages), platforms=platforms)
    return next(parts(_read(values, site, "platform").plan))


def _read(values: ContainerValues, site: CondaDefaults, platforms: str) -> Submission:
    """Read values; `platforms` is what the member is called here that says the platforms."""
    try:
        return read_container(values, site)
    except CallerError as error:
        if error.field != _THEIRS:
            raise
        raise error.with_message(error.message.replace(_THEIRS, platforms), field=platforms) from None


def check_name_alone(request: pb.ResolveRequest) -> None:
    """Return if a request by name says nothing that the name has said already.

    Raises:
        InvalidRequest: it does; the member is named.
    """
    for field, _ in request.ListFields():
        if field.name not in _BESIDE_NAME:
            message = f"{field.json_name}: cannot be given together with name, which says all that the image is"
            raise InvalidRequest(message, field=field.json_name)


def values_of(request: pb.ResolveRequest) -> ContainerValues:
    """Return the values of a request."""
    return ContainerValues(
        image=request.container_image,
        container_file=_text(request.container_file),
        packages=_packages(request.packages) if request.HasField("packages") else None,
        platforms=_platforms(request.platforms),
        config=_config(request.container_config),
        includes=request.container_includes,
        conda_file=_text(request.conda_file),
        build_context=_layer(request.build_context) if request.HasField("build_context") else None,
        build_repository=request.build_repository,
        cache_repository=request.cache_repository,
        build_template=request.build_template,
        compression=_compression(request.build_compression) if request.HasField("build_compression") else None,
        freeze=request.freeze,
        mirror=request.mirror,
        format=request.format,
        name_strategy=request.name_strategy,
        scan_mode=request.scan_mode,
        scan_levels=request.scan_levels,
        dry_run=request.dry_run,
        fingerprint=request.fingerprint,
        timestamp=request.timestamp,
        labels=request.labels,
        packs=request.packs,
        is_file_empty=request.WhichOneof("source") == "container_file" and not request.container_file,
    )


def _text(text: str) -> PlainText | None:
    return PlainText(text) if text else None


def _platforms(texts: Sequence[str]) -> list[tuple[str, str]]:
    return [(text, f"{_OURS}[{index}]") for index, text in enumerate(texts)]


def _config(config: pb.ContainerConfig) -> ConfigValues:
    layers = [_layer(layer) for layer in config.layers]
    return ConfigValues(config.entrypoint, config.cmd, config.env, config.working_dir, layers, config.labels)


def _layer(layer: pb.Layer) -> LayerValues:
    return LayerValues(layer.location, layer.data, layer.gzip_digest, layer.gzip_size or None, layer.tar_digest)


def _packages(packages: pb.Packages) -> PackagesValues:
    return PackagesValues(
        type=packages.type or "CONDA",
        environment=_text(packages.environment),
        entries=packages.entries,
        channels=packages.channels,
        conda_opts=_options(packages.conda_opts) if packages.HasField("conda_opts") else None,
        pixi_opts=_options(packages.pixi_opts) if packages.HasField("pixi_opts") else None,
        as_of=packages.as_of,
    )


def _options(options: pb.CondaOpts) -> CondaOptsValues:
    return CondaOptsValues(
        mamba_image=options.mamba_image,
        commands=options.commands,
        base_packages=options.base_packages if options.HasField("base_packages") else None,
        base_image=options.base_image,
    )


def _compression(asked: pb.BuildCompression) -> CompressionValues:
    return CompressionValues(asked.mode, asked.level if asked.HasField("level") else None, asked.force)
