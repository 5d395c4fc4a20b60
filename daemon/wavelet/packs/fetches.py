"""What packs are made of, on its way: fetched in tasks of their own, so that no pack waits for another's sources."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable
from contextlib import AsyncExitStack
from pathlib import Path

from wavelet.errors import WaitExpired
from wavelet.packs.building import Fetched
from wavelet.packs.fetching import Fetching
from wavelet.packs.spec import PackSpec

FETCH_LIMIT = 3600.0
"""Seconds for all that a pack is made of."""

FETCHES = 4
"""Packs that are fetched for at a time."""


class Fetches:
    """At most one fetch for each pack, by its name."""

    def __init__(self, fetching: Fetching, ended: Callable[[], None]) -> None:
        """Begin with none; `ended` is called whenever one is done."""
        self._fetching = fetching
        self._ended = ended
        self._places = asyncio.Semaphore(FETCHES)
        self._running: dict[str, _Fetch] = {}

    @property
    def coming(self) -> dict[str, Path]:
        """The packs that are being fetched for, and their directories."""
        return {name: fetch.directory for name, fetch in self._running.items()}

    async def result(self, directory: Path, fingerprint: str, spec: PackSpec) -> dict[int, list[Fetched]] | None:
        """Return what a pack is made of, which stays until `end`; None: it is being fetched, from now on at least.

        Raises:
            WaveletError: it cannot be fetched.
        """
        fetch = self._running.get(spec.name)
        if fetch is not None and (fetch.directory, fetch.fingerprint) != (directory, fingerprint):
            await self.end([spec.name])
            fetch = None
        if fetch is None:
            self._running[spec.name] = fetch = _Fetch(directory, fingerprint)
            fetch.begin(self._fetching, spec, self._places, self._ended)
        return fetch.task.result() if fetch.task.done() else None

    async def end(self, names: Iterable[str]) -> None:
        """Let go of what was fetched for packs, or end fetching it."""
        for name in [*names]:
            if fetch := self._running.pop(name, None):
                await fetch.close()

    async def end_all_but(self, names: Collection[str]) -> None:
        """End all others."""
        await self.end(self._running.keys() - set(names))


class _Fetch:
    def __init__(self, directory: Path, fingerprint: str) -> None:
        self.directory = directory
        self.fingerprint = fingerprint
        self._stack = AsyncExitStack()

    def begin(self, fetching: Fetching, spec: PackSpec, places: asyncio.Semaphore, ended: Callable[[], None]) -> None:
        self.task = asyncio.create_task(self._run(fetching, spec, places))
        self.task.add_done_callback(lambda _: ended())

    async def _run(self, fetching: Fetching, spec: PackSpec, places: asyncio.Semaphore) -> dict[int, list[Fetched]]:
        async with places:
            try:
                async with asyncio.timeout(FETCH_LIMIT):
                    return await fetching.fetch(spec, self._stack)
            except TimeoutError:
                raise WaitExpired(f"what it is made of could not be fetched in {FETCH_LIMIT:.0f} s") from None

    async def close(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        await self._stack.aclose()
