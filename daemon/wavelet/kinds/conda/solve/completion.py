"""The sha256 that locks need of packages: from their channel's index, else from the archive itself."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from wavelet.concurrency import gather_all
from wavelet.errors import DigestMismatch, NotFound, UpstreamError
from wavelet.kinds.conda.model.packages import Package
from wavelet.kinds.conda.solve.messages import Record
from wavelet.kinds.conda.solve.solver import Solver

Archive = Callable[[Package], Awaitable[Package]]
"""Fetches a package's archive and returns the package with sha256 and size. It raises UpstreamBroken where the archive
has another md5 than the package says."""

AT_ONCE = 8
"""Archives that are fetched at one time."""


class Completion:
    """See the module."""

    def __init__(self, solver: Solver, archive: Archive) -> None:
        self._solver = solver
        self._archive = archive
        self._room = asyncio.Semaphore(AT_ONCE)

    async def complete(self, packages: Sequence[Package], report: Callable[[str], None]) -> list[Package]:
        """Return the packages, in their order, each with its sha256.

        Raises:
            DigestMismatch: an index has another md5 than was asked for.
            UpstreamBroken: an archive has.
            NotFound, AccessRefused, UpstreamError: neither index nor archive can be had.
        """
        lacking = tuple(package.url for package in packages if package.sha256 is None)
        if not lacking:
            return list(packages)
        records = await self._records(lacking)
        unknown = [url for url in lacking if url not in records]
        if unknown:
            report(f"fetching {len(unknown)} archives for their sha256, which no index has")
        return await gather_all(self._completed(package, records.get(package.url)) for package in packages)

    async def _records(self, urls: tuple[str, ...]) -> dict[str, Record]:
        try:
            found = await self._solver.lookup(urls)
        except (NotFound, UpstreamError):
            return {}  # the archives are at hand, or say better what is wrong
        return {record.url: record for record in found if record.sha256 is not None}

    async def _completed(self, package: Package, record: Record | None) -> Package:
        if package.sha256 is not None:
            return package
        if record is None:
            async with self._room:
                return await self._archive(package)
        if package.md5 is not None and record.md5 is not None and package.md5 != record.md5:
            message = f"{package.url}: its channel has it with the md5 {record.md5}, not {package.md5}"
            raise DigestMismatch(message, field="packages")
        return replace(package, sha256=record.sha256, md5=package.md5 or record.md5, size=record.size)
