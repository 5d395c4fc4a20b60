"""The builder of packs: what their directories and other places have becomes layers, in their places, and a pack."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeVar

import structlog

from wavelet.packs.building import BuiltLayer, Fetched, build, version_of
from wavelet.packs.directories import FoundPack
from wavelet.packs.kept import KeptPack, PackFiles
from wavelet.packs.locations import location_of
from wavelet.packs.model import Pack, PackLayer
from wavelet.packs.spec import PackSpec
from wavelet.plan.node import Layer

T = TypeVar("T")

log = structlog.get_logger()


class Runs(Protocol):
    """Worker processes; see `wavelet.resolve.workers.Workers`."""

    async def run(self, function: Callable[..., T], *arguments: object) -> T:
        """Return what a function returns in one."""


class PackBuilder:
    """Builds packs, in worker processes."""

    def __init__(self, files: PackFiles, workers: Runs) -> None:
        self._files = files
        self._workers = workers

    async def build(self, found: FoundPack, spec: PackSpec, fetched: Mapping[int, Sequence[Fetched]]) -> KeptPack:
        """Build a pack of what is in its directory, and of what was fetched for it.

        Until what it puts into its place is in the index, nothing may be swept.

        Raises:
            PackRefused: it cannot be built.
            WaveletError, OSError: it cannot be built now.
        """
        began = time.monotonic()
        with self._files.scratch() as into:
            layers = await self._workers.run(build, found.directory, spec, fetched, into)
            await asyncio.to_thread(self._files.adopt, [(each.file, each.digest) for each in layers])
        pack = pack_of(spec, layers)
        size = sum(each.size for each in layers)
        log.info("a pack is built", pack=pack.reference, size=size, seconds=round(time.monotonic() - began, 3))
        return KeptPack(pack, str(found.directory), found.shipped, found.fingerprint)


def pack_of(spec: PackSpec, built: Sequence[BuiltLayer]) -> Pack:
    """Return the pack that was built of layers, the lowest first."""
    version = spec.version or version_of(spec, built)
    layers = tuple(
        PackLayer(
            Layer(
                each.digest,
                each.size,
                each.diff_id,
                location_of(f"{spec.name}@{version}", each.digest, each.architecture),
                each.architecture,
            ),
            each.paths,
        )
        for each in built
    )
    architectures = frozenset(each.architecture for each in built if each.architecture is not None)
    return Pack(spec.name, version, spec.entrypoint, spec.env, layers, architectures, spec.needs)
