"""The kinds of the conda world: environments as asked and as locked, and the layers that they are made of."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import replace

import msgspec
import structlog
from cachetools import TTLCache

from wavelet.archive import gzip_members
from wavelet.config import Apply, Settings, parse_size
from wavelet.engine.choice import engines_for
from wavelet.engine.limits import Limits
from wavelet.errors import UpstreamBroken
from wavelet.image.image import Descriptor, Image
from wavelet.kinds.conda.compose import image
from wavelet.kinds.conda.link import package
from wavelet.kinds.conda.link.layer_info import MEDIA_TYPE, LayerInfo
from wavelet.kinds.conda.model.node import (
    CondaEnvironment,
    LibcOf,
    LockedEnvironment,
    PackageLayer,
    ScriptsLayer,
    WheelLayer,
)
from wavelet.kinds.conda.model.packages import Libc, Package, Wheel
from wavelet.kinds.conda.pip import wheel
from wavelet.kinds.conda.postlink import scripts
from wavelet.kinds.conda.solve import base_libc
from wavelet.kinds.conda.solve.pinner import CondaPinner
from wavelet.kinds.kind import Kind, N, Pinned, PinWork, Preparation, Stands, Work
from wavelet.plan.canonical import key as key_of
from wavelet.plan.tokens import Identity


class _ArchiveLayers(Kind[N]):
    """What the kinds of layers of one archive have in common: how large that may be, and who may have it.

    `is_open` tells whether everybody may have what is at a URL.
    """

    def __init__(self, settings: Settings, is_open: Callable[[str], bool]) -> None:
        self._is_open = is_open
        self.configure(settings)()

    def configure(self, settings: Settings) -> Apply:
        """See `Kind`."""
        limit = parse_size(settings.conda.package_limit, "conda.package_limit")

        def apply() -> None:
            self._limit = limit

        return apply

    def _cached_as(self, of: Package | Wheel) -> str:
        # Bytes of a codec that other machines do not have would make another image of the same lock there.
        return of.file_name if self._is_open(of.url) and gzip_members.codec() is gzip_members.ISAL else ""


class PackageLayers(_ArchiveLayers[PackageLayer]):
    """See the module."""

    node = PackageLayer

    async def make(self, node: PackageLayer, work: Work) -> Image:
        """See `Kind`."""
        return await package.make(node, work, limit=self._limit)

    def cached_as(self, node: PackageLayer) -> str:
        """See `Kind`."""
        return self._cached_as(node.package)

    def item(self, node: PackageLayer) -> str:
        """See `Kind`."""
        return node.package.sha256 or node.package.url


class WheelLayers(_ArchiveLayers[WheelLayer]):
    """See the module."""

    node = WheelLayer

    async def make(self, node: WheelLayer, work: Work) -> Image:
        """See `Kind`."""
        return await wheel.make(node, work, limit=self._limit)

    def cached_as(self, node: WheelLayer) -> str:
        """See `Kind`."""
        return self._cached_as(node.wheel)

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


log = structlog.get_logger()

IN_VAIN = 30.0
"""Seconds for which a lock that no image could be made of, even after another solve, is not let go of again."""

IN_VAIN_HELD = 1024


class CondaEnvironments(Kind[CondaEnvironment]):
    """See the module."""

    node = CondaEnvironment
    is_solved = True

    def __init__(self, solves: CondaPinner) -> None:
        self._solves = solves

    def fresh(self, asked: CondaEnvironment, fixed: CondaEnvironment, identity: Identity) -> Pinned | None:
        """See `Kind`."""
        lock = self._solves.fresh(asked)
        return None if lock is None else Pinned(replace(lock, base=fixed.base), public=True)

    async def pin(self, asked: CondaEnvironment, fixed: CondaEnvironment, work: PinWork) -> Pinned:
        """See `Kind`."""

        async def libc_of_base() -> Libc:
            found = await work.realise(LibcOf(fixed.base))
            return Libc.decode(await work.read(found.closure[found.descriptor.digest]))

        # Packages for a platform that the base is not there for are of no use.
        await work.realise(fixed.base)
        lock = await self._solves.pin(asked, fixed.base, libc_of_base, work.report, refresh=work.refresh)
        return Pinned(lock, public=True)

    def solution(self, node: CondaEnvironment) -> Hashable | None:
        """See `Kind`."""
        lock = self._solves.latest(node)
        return None if lock is None else (*lock.packages, *lock.wheels)


class LockedEnvironments(Kind[LockedEnvironment]):
    """See the module."""

    node = LockedEnvironment
    preparation = Preparation.BUILT
    has_log = True
    advice = (
        "these packages were settled by an earlier request: name another version, or have them chosen anew on this "
        "node by `wavelet conda solve --refresh` with the same packages and channels (in Wave's API: ?refresh=true)"
    )

    def __init__(self, solves: CondaPinner) -> None:
        self._solves = solves
        self._in_vain: TTLCache[str, bool] = TTLCache(IN_VAIN_HELD, IN_VAIN, timer=time.monotonic)

    async def make(self, node: LockedEnvironment, work: Work) -> Image:
        """See `Kind`."""
        return await image.make(node, work)

    def items(self, node: LockedEnvironment) -> Mapping[str, int]:
        """See `Kind`."""
        packages = {each.sha256 or each.url: each.size or 0 for each in node.packages}
        return packages | {each.sha256: each.size or 0 for each in node.wheels}

    def solution(self, node: LockedEnvironment) -> Hashable | None:
        """See `Kind`."""
        return (*node.packages, *node.wheels)

    async def made(self, node: LockedEnvironment) -> None:
        """See `Kind`. Noted for all nodes: such locks are never replaced unasked."""
        await self._solves.mark_built(node)

    async def reconsider(self, node: LockedEnvironment, error: UpstreamBroken) -> bool:
        """See `Kind`.

        A lock that no node could make an image of yet is not held on to: an index may have been wrong about a package.
        """
        key = key_of(node)
        if await self._solves.was_built(node) or key in self._in_vain:
            return False
        self._in_vain[key] = True
        log.warning("solving anew, as a package is not what was said of it", because=error.message)
        return True
