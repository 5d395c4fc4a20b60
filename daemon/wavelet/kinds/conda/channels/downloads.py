"""The downloads of packages and wheels whose SHA-256 nothing says: they have to come before it is known."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from wavelet.errors import DigestMismatch, UpstreamBroken
from wavelet.kinds.conda.model.packages import Package
from wavelet.kinds.conda.pip.wheel_urls import FetchedWheel
from wavelet.store.content import Committed

Download = Callable[[Sequence[str], str | None], Awaitable[Committed]]
"""Returns the file that one of several URLs has, verified by its MD5 (in hexadecimal) where that is known."""


class Downloads:
    """See the module. What comes may be evicted as soon as something is awaited, unless it is held."""

    def __init__(self, download: Download) -> None:
        self._download = download

    async def complete(self, package: Package) -> Package:
        """Return a package with the SHA-256 and size of its file, which is verified by the MD5 if there is one.

        Raises:
            UpstreamBroken: the file there has another MD5.
            WaveletError: it cannot be had.
        """
        try:
            blob = await self._download([package.url], package.md5)
        except DigestMismatch as error:
            raise UpstreamBroken(f"{error.message}; the channel's index, or the lock that names it, is wrong") from None
        return replace(package, sha256=blob.digest.hex, size=blob.size)

    async def wheel(self, url: str) -> FetchedWheel:
        """Return the file of a wheel that a request names by its URL; whoever pins it verifies it.

        Raises:
            WaveletError: it cannot be had.
        """
        blob = await self._download([url], None)
        return FetchedWheel(blob.path, blob.digest.hex, blob.size)
