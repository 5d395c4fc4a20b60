"""The kinds of the parts of environments: layers of packages and wheels, what scripts change, C libraries of bases."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from wavelet.config import Apply, Settings, parse_size
from wavelet.engine.choice import engines_for
from wavelet.engine.limits import Limits
from wavelet.image.image import Image
from wavelet.image.manifest import Descriptor
from wavelet.kinds.conda.link import package
from wavelet.kinds.conda.link.layer_info import MEDIA_TYPE, LayerInfo
from wavelet.kinds.conda.model.parts import LibcOf, PackageLayer, ScriptsLayer, WheelLayer
from wavelet.kinds.conda.pip import wheel
from wavelet.kinds.conda.postlink import scripts
from wavelet.kinds.conda.solve import base_libc
from wavelet.kinds.kind import Kind, N, Stands
from wavelet.kinds.work import Work


class _ArchiveLayers(Kind[N]):
    """What the kinds of layers of one archive have in common: how large that may be."""

    def __init__(self, settings: Settings) -> None:
        self.configure(settings)()

    def configure(self, settings: Settings) -> Apply:
        """See `Kind`."""
        limit = parse_size(settings.conda.package_limit, "conda.package_limit")

        def apply() -> None:
            self._limit = limit

        return apply


class PackageLayers(_ArchiveLayers[PackageLayer]):
    """See the module."""

    node = PackageLayer

    async def make(self, node: PackageLayer, work: Work) -> Image:
        """See `Kind`."""
        return await package.make(node, work, limit=self._limit)

    def item(self, node: PackageLayer) -> str:
        """See `Kind`."""
        return node.package.sha256 or node.package.url


class WheelLayers(_ArchiveLayers[WheelLayer]):
    """See the module."""

    node = WheelLayer

    async def make(self, node: WheelLayer, work: Work) -> Image:
        """See `Kind`."""
        return await wheel.make(node, work, limit=self._limit)

    def item(self, node: WheelLayer) -> str:
        """See `Kind`."""
        return node.wheel.sha256


class ScriptsLayers(Kind[ScriptsLayer]):
    """See the module."""

    node = ScriptsLayer
    stands = Stands.FIRST_MADE
    taken = "what the post-link scripts change is as another node has made it"
    lost = "what the post-link scripts changed when they were run first is nowhere to be had; it was made anew"

    def __init__(self, settings: Settings) -> None:
        self.configure(settings)()

    def configure(self, settings: Settings) -> Apply:
        """See `Kind`."""
        scripted = settings.conda.scripts
        found = engines_for(settings.conda.engine)
        limits = Limits(
            scripted.processes,
            parse_size(scripted.memory, "conda.scripts.memory"),
            parse_size(scripted.disk, "conda.scripts.disk"),
            scripted.seconds,
        )

        def apply() -> None:
            self._engines, self._limits = found, limits

        return apply

    async def make(self, node: ScriptsLayer, work: Work) -> Image:
        """See `Kind`."""
        return await scripts.make(node, work, self._engines, self._limits)

    def contents(self, document: bytes) -> tuple[str, Sequence[Descriptor]] | None:
        """See `Kind`."""
        try:
            return MEDIA_TYPE, [LayerInfo.decode(document).descriptor]
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None


class LibcsOf(Kind[LibcOf]):
    """See the module."""

    node = LibcOf

    async def make(self, node: LibcOf, work: Work) -> Image:
        """See `Kind`."""
        return await base_libc.make(node, work)
