"""The layers that need not be made here, since a repository that the request names has them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from wavelet.image.image import Image
from wavelet.image.reference import Repository
from wavelet.plan.tokens import Identity


@dataclass(frozen=True, slots=True)
class CachedLayer:
    """A layer that is looked for, or put.

    Attributes:
        repository: where.
        key: of the node that it is the image of.
        title: what the log calls it.
        identity: whose logins are used, and then the site's.
        report: takes lines of the log of the making that it is wanted for.
    """

    repository: Repository
    key: str
    title: str
    identity: Identity
    report: Callable[[str], None]


class LayerCache(Protocol):
    """Where such layers are. Neither of the two fails, and both end soon enough: what is wrong is a line of the log."""

    async def find(self, layer: CachedLayer) -> Image | None:
        """Return the image of a layer, its content verified and taken in as if it had been made here."""

    async def put(self, layer: CachedLayer, image: Image) -> None:
        """Put a layer that was made here."""
