"""Channels without the packages that a request does not want of them.

The solver library heeds one channel of a spec and no subdir. Where its solution has a package from elsewhere, it is
asked again with sources that leave out all others. Only the solver process imports this.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rattler import Gateway, PackageName, RepoDataRecord, Subdir

from wavelet.kinds.conda.solve.messages import Origin


def fits(record: RepoDataRecord, origins: Iterable[Origin]) -> bool:
    """Tell whether a record is from where its name has to be from."""
    return all(
        (not origin.channels or _channel(record) in origin.channels) and origin.subdir in ("", record.subdir)
        for origin in origins
        if origin.name == record.name.normalized
    )


def _channel(record: RepoDataRecord) -> str:
    return (record.channel or record.url.rsplit("/", 2)[0]).rstrip("/")


class FilteredChannel:
    """A channel as a source of the library's (`rattler.RepoDataSource`), without records that do not fit."""

    def __init__(self, gateway: Gateway, channel: str, origins: Sequence[Origin]) -> None:
        self._gateway = gateway
        self._channel = channel
        self._origins = origins

    async def fetch_package_records(self, platform: Subdir, name: PackageName) -> list[RepoDataRecord]:
        """Return the records of a name in a subdir."""
        found = await self._gateway.query(
            [self._channel], [platform], [name.normalized], recursive=False, channel_relations="disabled"
        )
        return [record for records in found for record in records if fits(record, self._origins)]

    def package_names(self, platform: Subdir) -> list[str]:
        """Return nothing: the solver asks for the names that it needs."""
        return []
