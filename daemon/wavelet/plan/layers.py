"""The layer that a request adds, and where its bytes are."""

from __future__ import annotations

from dataclasses import dataclass

from wavelet.image.digest import Digest

INLINE = "inline:"
"""The location of a layer whose bytes came with the request and lie beside its record."""


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer that a request adds.

    Attributes:
        digest: of the compressed blob, `gzipDigest`.
        size: of the compressed blob in bytes, where the request says it.
        diff_id: digest of the tar, `tarDigest`.
        location: where its bytes are (`http(s)://…` or `inline:`). It takes no part in names.
        architecture: the only one that the layer is for, if there is such (Fusion's launchers).
    """

    digest: Digest
    size: int | None
    diff_id: Digest
    location: str
    architecture: str | None = None
