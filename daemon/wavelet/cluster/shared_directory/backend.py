"""The backend of nodes that share a directory: requests, claims and secrets as files, each with threads of its own.

If the directory hangs, it is those who wait for it that wait, and nobody else; and who waits for a blob to be copied
holds up nobody who looks up a name.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from wavelet.cluster.publish import make_directory
from wavelet.cluster.records import Lifetimes
from wavelet.cluster.shared_directory.claims import DirectoryClaims
from wavelet.cluster.shared_directory.records import DirectoryRecords
from wavelet.cluster.shared_directory.secrets import DirectorySecrets
from wavelet.config import Apply, ConfigError, Settings
from wavelet.errors import WaveletError
from wavelet.plan.canonical import Forms


class _Place(Protocol):
    async def expire(self) -> int: ...

    async def close(self) -> None: ...


class DirectoryBackend:
    """See `wavelet.cluster.backend.ClusterBackend`."""

    def __init__(
        self,
        path: Path,
        key: bytes,
        forms: Forms,
        lifetimes: Lifetimes,
        *,
        share_logins: bool,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Use or make the directory. Blocking: for the start.

        Args:
            path: the shared directory.
            key: the cluster's.
            forms: those in which plans are kept.
            lifetimes: of records after their last use.
            share_logins: whether logins that users hand over are for all nodes.
            clock: gives unix seconds.

        Raises:
            ConfigError: the directory cannot be made.
        """
        _make(path)
        self.key = key
        self.records = DirectoryRecords(path, key, forms, lifetimes, clock)
        self.claims = DirectoryClaims(path, key, clock)
        self.secrets = DirectorySecrets(path, key, clock) if share_logins else None
        self._places: tuple[_Place, ...] = (self.records, self.claims, *((self.secrets,) if self.secrets else ()))

    def configure(self, settings: Settings) -> Apply:
        """See `ClusterBackend.configure`."""
        return lambda: self.records.keep_for(Lifetimes.of(settings))

    async def expire(self) -> int:
        """See `ClusterBackend.expire`."""
        count, failure = 0, None
        for place in self._places:
            try:
                count += await place.expire()
            except WaveletError as error:
                failure = failure or error
        if failure is not None:
            raise failure
        return count

    async def check(self) -> None:
        """See `ClusterBackend.check`."""
        await self.records.check()

    async def close(self) -> None:
        """See `ClusterBackend.close`."""
        for place in reversed(self._places):
            await place.close()


def _make(path: Path) -> None:
    try:
        make_directory(path)
    except OSError as error:
        message = f"records.directory: {path} cannot be used: {error.strerror}; make it, owned by the daemon's user"
        raise ConfigError(message, field="records.directory") from None
