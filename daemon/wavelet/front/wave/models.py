"""The types of what goes over the wire: the bodies of requests and of answers, with Wave's member names.

Requests are strict about types and lenient about everything else: unknown members are skipped, and null is the same as
absent. What is accepted and ignored is not declared, so that it is never held: the Platform's tokens and endpoint,
`workflowId`, `skipHashing`, options of Spack. In answers, nulls and empty members are
left out; `false` is written.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct


class _Body(Struct, frozen=True, kw_only=True, rename="camel"):
    """A request's body, or a part of it."""


class LayerBody(_Body, frozen=True):
    """A layer as a request names it. `gzipSize` is in bytes, a number or (in some clients) its digits as a string."""

    location: str | None = None
    gzip_digest: str | None = None
    gzip_size: int | str | None = None
    tar_digest: str | None = None


class ConfigBody(_Body, frozen=True):
    """`containerConfig`."""

    entrypoint: list[str] | None = None
    cmd: list[str] | None = None
    env: list[str] | None = None
    working_dir: str | None = None
    layers: list[LayerBody] | None = None


class CompressionBody(_Body, frozen=True):
    """`buildCompression`."""

    mode: str | None = None
    level: int | None = None
    force: bool | None = None


class CondaOptsBody(_Body, frozen=True):
    """`packages.condaOpts`, and what is read of `packages.pixiOpts`. `basePackages` has spaces between its specs."""

    mamba_image: str | None = None
    commands: list[str] | None = None
    base_packages: str | None = None
    base_image: str | None = None
    pixi_image: str | None = None


class PackagesBody(_Body, frozen=True):
    """`packages`. `environment` is a file's text in base64; `asOf` is wavelet's own, a date or a time in RFC 3339."""

    type: str | None = None
    environment: str | None = None
    entries: list[str] | None = None
    channels: list[str] | None = None
    conda_opts: CondaOptsBody | None = None
    pixi_opts: CondaOptsBody | None = None
    cran_opts: Any = None
    as_of: str | None = None


class SubmitBody(_Body, frozen=True):
    """Wave's `SubmitContainerTokenRequest`.

    `timestamp` is of any type, for clients disagree and it is only shown; so is what matters by being there alone.
    Wave has neither `labels` nor `packs`.
    """

    container_image: str | None = None
    container_file: str | None = None
    container_config: ConfigBody | None = None
    conda_file: str | None = None
    container_platform: str | None = None
    build_repository: str | None = None
    cache_repository: str | None = None
    timestamp: Any = None
    fingerprint: str | None = None
    freeze: bool | None = None
    mirror: bool | None = None
    build_context: LayerBody | None = None
    format: str | None = None
    dry_run: bool | None = None
    container_includes: list[str] | None = None
    packages: PackagesBody | None = None
    name_strategy: str | None = None
    scan_mode: str | None = None
    scan_levels: list[str] | None = None
    build_compression: CompressionBody | None = None
    build_template: str | None = None
    spack_file: str | None = None
    tower_workspace_id: Any = None
    labels: dict[str, str] | None = None
    packs: list[str] | None = None


class InspectBody(_Body, frozen=True):
    """The body of an inspect request."""

    container_image: str | None = None


class CredentialsBody(_Body, frozen=True):
    """The body of a validate-creds request. Its representation shows nothing of it."""

    user_name: str | None = None
    password: str | None = None
    registry: str | None = None

    def __repr__(self) -> str:
        return "CredentialsBody(…)"


class _Answer(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """An answer, or a part of it."""


class MessageAnswer(_Answer, frozen=True):
    """The body of every error."""

    message: str


class SubmitAnswer(_Answer, frozen=True, kw_only=True):
    """Wave's `SubmitContainerTokenResponse`; `expiration` is an ISO-8601 instant in UTC."""

    request_id: str
    container_token: str | None = None
    target_image: str
    expiration: str | None = None
    container_image: str
    build_id: str | None = None
    cached: bool | None = None
    freeze: bool | None = None
    mirror: bool | None = None
    succeeded: bool | None = None


class StatusAnswer(_Answer, frozen=True):
    """Wave's `ContainerStatusResponse`; `duration` is decimal seconds."""

    id: str
    status: str
    creation_time: str
    build_id: str | None = None
    mirror_id: str | None = None
    succeeded: bool | None = None
    reason: str | None = None
    details_uri: str | None = None
    duration: msgspec.Raw | None = None


class BuildStatusAnswer(_Answer, frozen=True):
    """Wave's build status, for clients that poll builds."""

    id: str
    status: str
    start_time: str
    duration: msgspec.Raw | None = None
    succeeded: bool | None = None


class BuildAnswer(_Answer, frozen=True):
    """Wave's `WaveBuildRecord`, as far as what is made here has it."""

    build_id: str
    target_image: str
    start_time: str
    format: str
    conda_file: str | None = None
    duration: msgspec.Raw | None = None
    exit_status: int | None = None
    platform: str | None = None
    request_ip: str | None = None
    digest: str | None = None


class MirrorAnswer(_Answer, frozen=True):
    """Wave's `WaveMirrorRecord`."""

    mirror_id: str
    source_image: str
    target_image: str
    creation_time: str
    status: str
    digest: str | None = None
    platform: str | None = None
    duration: msgspec.Raw | None = None
    exit_code: int | None = None
    logs: str | None = None


class LayerAnswer(_Answer, frozen=True):
    """A layer of a request."""

    location: str
    gzip_digest: str
    tar_digest: str
    gzip_size: int | None = None


class ConfigAnswer(_Answer, frozen=True):
    """A request's `containerConfig`."""

    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    working_dir: str = ""
    layers: tuple[LayerAnswer, ...] = ()


class ContainerAnswer(_Answer, frozen=True):
    """Wave's `WaveContainerRecord`."""

    id: str
    container_image: str
    source_image: str
    wave_image: str
    expiration: str
    freeze: bool
    mirror: bool
    container_config: ConfigAnswer | None = None
    platform: str | None = None
    fingerprint: str | None = None
    timestamp: str | None = None
    ip_address: str | None = None
    build_id: str | None = None
    build_repository: str | None = None
    source_digest: str | None = None
    wave_digest: str | None = None


class TokenRequestAnswer(_Answer, frozen=True):
    """What was asked for, in a described token."""

    container_image: str
    container_config: ConfigAnswer | None = None
    platform: str | None = None
    fingerprint: str | None = None
    timestamp: str | None = None
    ip_address: str | None = None


class ImageAnswer(_Answer, frozen=True):
    """An image's name, and its digest once that is known."""

    image: str
    digest: str | None = None


class TokenAnswer(_Answer, frozen=True):
    """Wave's `DescribeWaveContainerResponse`."""

    token: str
    expiration: str
    request: TokenRequestAnswer
    source: ImageAnswer
    wave: ImageAnswer


class ServiceInfo(_Answer, frozen=True):
    """Version and commit of the service."""

    version: str
    commit_id: str


class ServiceInfoAnswer(_Answer, frozen=True):
    """The answer to `/service-info`."""

    service_info: ServiceInfo
