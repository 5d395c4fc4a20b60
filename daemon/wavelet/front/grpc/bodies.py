"""From requests to the bodies that both doors have in common, `wavelet.front.wave.models`. Pure.

What is checked there is not checked here. Texts of files travel in base64 there, and plainly here.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Sequence

from wavelet.errors import CallerError, InvalidRequest
from wavelet.front.wave import models
from wavelet.front.wave.translate import Submission, translate
from wavelet.image.platform import Platform
from wavelet.kinds.conda.model.asked import CondaDefaults
from wavelet.kinds.conda.model.environments import CondaEnvironment
from wavelet.plan.tree import parts
from wavelet.v1 import containers_pb2 as pb

_BESIDE_NAME = ("auth", "dry_run", "refresh", "wait", "name", "fingerprint", "timestamp")
"""What a request by name can have: the name says all else."""

_THEIRS, _OURS = "containerPlatform", "platforms"


def submission(request: pb.ResolveRequest, site: CondaDefaults) -> Submission:
    """Return what a request asks for that is made of anything but a name. See `translate` for the errors."""
    if request.WhichOneof("source") is None:
        message = "containerImage: nothing to make a container from; give it, containerFile, packages or name"
        raise InvalidRequest(message, field="containerImage")
    return _translated(body_of(request, _platforms(request.platforms)), site, _OURS)


def packages_plan(packages: pb.Packages, platform: str, site: CondaDefaults) -> CondaEnvironment:
    """Return the plan of packages alone, for a platform.

    Raises:
        CallerError: as `translate`.
    """
    Platform.parse(platform or "linux/amd64", "platform")
    body = models.SubmitBody(packages=_packages(packages), container_platform=platform or None)
    found = next(parts(_translated(body, site, "platform").plan))
    assert isinstance(found, CondaEnvironment), "that is what packages are"
    return found


def _translated(body: models.SubmitBody, site: CondaDefaults, platforms: str) -> Submission:
    """Translate a body; `platforms` is what the member is called here that says the platforms."""
    try:
        return translate(body, "grpc", site)
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


def body_of(request: pb.ResolveRequest, platforms: Sequence[str]) -> models.SubmitBody:
    """Return a request's body."""
    return models.SubmitBody(
        container_image=request.container_image or None,
        container_file=_encoded(request.container_file),
        container_config=_config(request.container_config) if request.HasField("container_config") else None,
        conda_file=_encoded(request.conda_file),
        container_platform=",".join(platforms) or None,
        build_repository=request.build_repository or None,
        cache_repository=request.cache_repository or None,
        timestamp=request.timestamp or None,
        fingerprint=request.fingerprint or None,
        freeze=request.freeze,
        mirror=request.mirror,
        build_context=_layer(request.build_context, "buildContext") if request.HasField("build_context") else None,
        format=request.format or None,
        dry_run=request.dry_run,
        container_includes=list(request.container_includes),
        packages=_packages(request.packages) if request.HasField("packages") else None,
        name_strategy=request.name_strategy or None,
        scan_mode=request.scan_mode or None,
        scan_levels=list(request.scan_levels),
        build_compression=_compression(request) if request.HasField("build_compression") else None,
        build_template=request.build_template or None,
    )


def _platforms(texts: Iterable[str]) -> list[str]:
    return [str(Platform.parse(text, f"{_OURS}[{index}]")) for index, text in enumerate(texts)]


def _config(config: pb.ContainerConfig) -> models.ConfigBody:
    return models.ConfigBody(
        entrypoint=list(config.entrypoint),
        cmd=list(config.cmd),
        env=list(config.env),
        working_dir=config.working_dir,
        layers=list(_layers(config.layers)),
    )


def _layers(layers: Iterable[pb.Layer]) -> Iterator[models.LayerBody]:
    for index, layer in enumerate(layers):
        yield _layer(layer, f"containerConfig.layers[{index}]")


def _layer(layer: pb.Layer, field: str) -> models.LayerBody:
    if layer.data and layer.location:
        message = f"{field}.data: cannot be given together with location; leave out one of them"
        raise InvalidRequest(message, field=f"{field}.data")
    inline = f"data:{base64.b64encode(layer.data).decode('ascii')}" if layer.data else None
    return models.LayerBody(
        location=inline or layer.location or None,
        gzip_digest=layer.gzip_digest or None,
        gzip_size=layer.gzip_size or None,
        tar_digest=layer.tar_digest or None,
    )


def _packages(packages: pb.Packages) -> models.PackagesBody:
    return models.PackagesBody(
        type=packages.type or "CONDA",
        environment=_encoded(packages.environment),
        entries=list(packages.entries),
        channels=list(packages.channels),
        conda_opts=_options(packages.conda_opts) if packages.HasField("conda_opts") else None,
        pixi_opts=_options(packages.pixi_opts) if packages.HasField("pixi_opts") else None,
        as_of=packages.as_of or None,
    )


def _options(options: pb.CondaOpts) -> models.CondaOptsBody:
    return models.CondaOptsBody(
        mamba_image=options.mamba_image or None,
        commands=list(options.commands),
        base_packages=options.base_packages if options.HasField("base_packages") else None,
        base_image=options.base_image or None,
    )


def _compression(request: pb.ResolveRequest) -> models.CompressionBody:
    asked = request.build_compression
    level = asked.level if asked.HasField("level") else None
    return models.CompressionBody(mode=asked.mode or None, level=level, force=asked.force)


def _encoded(text: str) -> str | None:
    return base64.b64encode(text.encode()).decode("ascii") if text else None
