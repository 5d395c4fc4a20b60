"""The packs of this node, built."""

from __future__ import annotations

import asyncio

from wavelet.packs.fetching import SourceFetcher
from wavelet.packs.kept import PackFiles
from wavelet.packs.library import PackLibrary
from wavelet.upkeep import Upkeep
from wavelet.wiring.images import ImageServices
from wavelet.wiring.state import NodeState
from wavelet.wiring.upstream import UpstreamServices


def build_packs(state: NodeState, upstream: UpstreamServices, images: ImageServices, upkeep: Upkeep) -> PackLibrary:
    """Build the library of packs, and have it built in the background."""
    settings = state.settings
    fetching = SourceFetcher(images.resolver, upstream.fetcher, state.store)
    library = PackLibrary(settings, PackFiles(settings.state_directory / "packs"), images.workers, fetching)
    upstream.fetcher.packs = library
    upkeep.add_configurable(library)
    running = asyncio.create_task(library.run(), name="packs")
    upkeep.stack.push_async_callback(_ended, running)
    return library


async def _ended(running: asyncio.Task[None]) -> None:
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
