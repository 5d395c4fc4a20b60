"""The values of a container request, as doors hand them over. An empty one counts as not given. Pure.

Fields have the names of Wave's members in this project's spelling; errors name the members themselves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol


class Text(Protocol):
    """The text of a file, in whatever form it travels."""

    def read(self) -> str:
        """Return it.

        Raises:
            InvalidRequest: it is not what its form says.
        """


@dataclass(frozen=True, slots=True)
class PlainText:
    """A text that travels as it is."""

    text: str

    def read(self) -> str:
        """See `Text`."""
        return self.text


@dataclass(frozen=True, slots=True)
class LayerValues:
    """A layer: where it is, or its bytes themselves. `gzip_size` is a number of bytes, or its digits."""

    location: str = ""
    data: bytes = b""
    gzip_digest: str = ""
    gzip_size: int | str | None = None
    tar_digest: str = ""


@dataclass(frozen=True, slots=True)
class ConfigValues:
    """`containerConfig`."""

    entrypoint: Sequence[str] = ()
    cmd: Sequence[str] = ()
    env: Sequence[str] = ()
    working_dir: str = ""
    layers: Sequence[LayerValues] = ()
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CompressionValues:
    """`buildCompression`."""

    mode: str = ""
    level: int | None = None
    force: bool = False


@dataclass(frozen=True, slots=True)
class CondaOptsValues:
    """`packages.condaOpts` or `packages.pixiOpts`; `base_packages` is None where nobody has chosen them."""

    mamba_image: str = ""
    commands: Sequence[str] = ()
    base_packages: str | None = None
    base_image: str = ""
    pixi_image: str = ""


@dataclass(frozen=True, slots=True)
class PackagesValues:
    """`packages`."""

    type: str = ""
    environment: Text | None = None
    entries: Sequence[str] = ()
    channels: Sequence[str] = ()
    conda_opts: CondaOptsValues | None = None
    pixi_opts: CondaOptsValues | None = None
    has_cran_opts: bool = False
    as_of: str = ""


@dataclass(frozen=True, slots=True)
class ContainerValues:
    """A whole request.

    Attributes:
        platforms: each with the member that says it.
        labels: by which rules of the site tell requests apart.
        packs: of this node, `<name>` or `<name>@<version>` each.
        has_spack_file, has_workspace: whether the request has these members.
        is_file_empty: whether a container file was sent, alone, and there is nothing in it.
    """

    image: str = ""
    container_file: Text | None = None
    packages: PackagesValues | None = None
    platforms: Sequence[tuple[str, str]] = ()
    config: ConfigValues = field(default_factory=ConfigValues)
    includes: Sequence[str] = ()
    conda_file: Text | None = None
    build_context: LayerValues | None = None
    build_repository: str = ""
    cache_repository: str = ""
    build_template: str = ""
    compression: CompressionValues | None = None
    freeze: bool = False
    mirror: bool = False
    format: str = ""
    name_strategy: str = ""
    scan_mode: str = ""
    scan_levels: Sequence[str] = ()
    dry_run: bool = False
    fingerprint: str = ""
    timestamp: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    packs: Sequence[str] = ()
    has_spack_file: bool = False
    has_workspace: bool = False
    is_file_empty: bool = False
