"""What a pack's `pack.yaml` says, as values. Pure.

Paths in a pack are relative to its directory and lead nowhere else; paths in an image are relative to its root, and
have no slash at their ends.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from wavelet.image.reference import Digest, Reference
from wavelet.packs.model import Needs


@dataclass(frozen=True, slots=True)
class DirectorySource:
    """A directory of the pack, whose tree is put below `to`; empty: the root."""

    path: str
    to: str = ""


@dataclass(frozen=True, slots=True)
class FilesSource:
    """Single files: each its path in the image, and that in the pack; `mode` for all, None: as in the pack."""

    files: tuple[tuple[str, str], ...]
    mode: int | None = None


@dataclass(frozen=True, slots=True)
class TarSource:
    """A tar of the pack: plain, gzip or zstd."""

    path: str


@dataclass(frozen=True, slots=True)
class CertificatesSource:
    """Files with certificates of the site, as PEM.

    Attributes:
        files: their paths in the pack, or in `directory`.
        is_site: they are whatever lies in the site's directory of certificates.
        directory: where they lie, if it is not the pack.
    """

    files: tuple[str, ...] = ()
    is_site: bool = False
    directory: str = ""


@dataclass(frozen=True, slots=True)
class ImageSource:
    """The layers of an image of a registry."""

    reference: Reference


@dataclass(frozen=True, slots=True)
class UrlSource:
    """A tar at a URL: plain, gzip or zstd; `digest` is of what is there."""

    url: str
    digest: Digest


Source = DirectorySource | FilesSource | TarSource | CertificatesSource | ImageSource | UrlSource


@dataclass(frozen=True, slots=True)
class LayerSpec:
    """A layer to build.

    Attributes:
        place: where it is said, for messages: `packs/trace/pack.yaml: layers[1]`.
        architecture: the only one that it is for, in OCI's names; None: all that the pack is for.
        keeps_existing: what is in it gives way to what an image has at the same path.
    """

    place: str
    source: Source
    architecture: str | None = None
    keeps_existing: bool = False


@dataclass(frozen=True, slots=True)
class PackSpec:
    """A pack to build.

    Attributes:
        version: None: it is told by what was built.
        env: `NAME=VALUE` each.
        allow: what is refused unless it is here: `setuid`.
    """

    name: str
    version: str | None = None
    layers: tuple[LayerSpec, ...] = ()
    env: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    needs: Needs = field(default_factory=Needs)
    allow: frozenset[str] = frozenset()

    @property
    def architectures(self) -> frozenset[str]:
        """The architectures that its layers name; where none does, it is for all, which is the empty set."""
        return frozenset(each.architecture for each in self.layers if each.architecture is not None)

    @property
    def is_offline(self) -> bool:
        """Whether all that it is made of lies in its directory."""
        return not any(isinstance(each.source, ImageSource | UrlSource) for each in self.layers)
