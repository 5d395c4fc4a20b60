"""The leaf that most plans stand on: an image that some registry has."""

from __future__ import annotations

from dataclasses import dataclass

from wavelet.image.platform import Platform
from wavelet.image.reference import Reference


@dataclass(frozen=True, slots=True)
class FromRegistry:
    """An image that some registry has. Without a platform: whatever the reference names, an index as it is."""

    reference: Reference
    platform: Platform | None = None
