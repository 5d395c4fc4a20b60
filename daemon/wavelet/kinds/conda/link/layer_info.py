"""The document of a layer that was made of one package or wheel: all that is known of it (pure).

The document is a function of the archive, prefix and Python alone, as the layer is. It is what images are put together
from: which paths the layer has, what the package says of itself, and where its files lie in the compressed blob.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from wavelet.archive.gzip_members import Fragment
from wavelet.image.image import Descriptor, Family
from wavelet.image.reference import Digest

MEDIA_TYPE = "application/vnd.wavelet.layer.v1+json"

Kind = Literal["package", "wheel", "scripts"]


class LayerInfo(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """See the module. Paths are relative to `PREFIX` and sorted.

    Attributes:
        kind: what the layer was made of.
        digest: of the compressed blob.
        size: of the compressed blob, in bytes.
        diff_id: of the tar.
        fragment: where its files are.
        files: paths of regular files.
        links: paths of symbolic links, with their targets.
        directories: paths of all directories that the layer has entries for, the prefix itself ("") among them.
        index: what matters of a package's `info/index.json`; name, version and `requires_dist` of a wheel.
        about: members of `info/about.json` that an SBOM shows: `license` and `home`.
        scripts: paths of scripts that installation would run (post-link, and pre-link, which is long deprecated).
        env_vars: what the package's `etc/conda/env_vars.d` sets.
        has_activation: whether it has scripts in `etc/conda/activate.d`.
    """

    kind: Kind
    digest: str
    size: int
    diff_id: str
    fragment: Fragment
    files: tuple[str, ...] = ()
    links: Mapping[str, str] = msgspec.field(default_factory=dict)
    directories: tuple[str, ...] = ()
    index: Mapping[str, Any] = msgspec.field(default_factory=dict)
    about: Mapping[str, Any] = msgspec.field(default_factory=dict)
    scripts: tuple[str, ...] = ()
    env_vars: Mapping[str, str] = msgspec.field(default_factory=dict)
    has_activation: bool = False

    @property
    def descriptor(self) -> Descriptor:
        """The layer as manifests name it."""
        return Descriptor(Family.OCI.layer(), Digest(self.digest), self.size)

    def encode(self) -> bytes:
        """Return the document."""
        return msgspec.json.encode(self, order="sorted", enc_hook=str)

    @classmethod
    def decode(cls, data: bytes) -> LayerInfo:
        """Read the document."""
        return msgspec.json.decode(data, type=cls)
