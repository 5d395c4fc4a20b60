"""The places of records in a shared directory: the usual one, and one for those of frozen images, which last.

    <directory>/…           records, as `record_files` has them
    <directory>/frozen/…    the same, of frozen images in the nodes' own registry

How long a record lives is said by its place, so that nothing has to be read to forget what is too old. Versions that
know no frozen images do not look into their place, and so do not take theirs for too old.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from wavelet.cluster.records import Lifetimes, Record, not_found
from wavelet.cluster.shared_directory.record_files import RecordFile, RecordFiles
from wavelet.errors import TokenNotFound
from wavelet.image.reference import Digest
from wavelet.plan.canonical import Forms, Pin
from wavelet.plan.tokens import well_formed

FROZEN = "frozen"


class RecordPlaces:
    """Both places, each asked in turn for a token. All methods are blocking, and fail as those of `RecordFiles` do."""

    def __init__(self, root: Path, key: bytes, forms: Forms, lifetimes: Lifetimes, clock: Callable[[], float]) -> None:
        """Use the directory; `key` is the cluster's, plans are kept in `forms`, `clock` gives unix seconds."""
        self._usual = RecordFiles(root, key, forms, lifetimes.usual, clock)
        self._frozen = RecordFiles(root / FROZEN, key, forms, lifetimes.frozen, clock)
        self._all = self._usual, self._frozen

    def keep_for(self, lifetimes: Lifetimes) -> None:
        """Count other lifetimes from now on."""
        self._usual.lifetime, self._frozen.lifetime = lifetimes.usual, lifetimes.frozen

    def look_afresh(self, token: str) -> None:
        """See `RecordFiles`."""
        for each in self._all:
            each.look_afresh(token)

    def read(self, token: str, named: bool = False) -> RecordFile | None:
        """See `RecordFiles`."""
        seen = self._usual.read(token, named)
        return self._frozen.read(token, named) if seen is None else seen

    def read_bound(self, token: str, named: bool) -> RecordFile | None:
        """See `RecordFiles`."""
        seen = self._usual.read_bound(token, named)
        return self._frozen.read_bound(token, named) if seen is None else seen

    def bind(self, token: str, pin: Pin) -> Pin:
        """See `RecordFiles`."""
        for each in self._all:
            try:
                return each.bind(token, pin)
            except TokenNotFound:
                continue
        raise not_found(token)

    def read_inline(self, token: str, digest: Digest) -> bytes | None:
        """See `RecordFiles`."""
        content = self._usual.read_inline(token, digest)
        return self._frozen.read_inline(token, digest) if content is None else content

    def put(self, token: str, record: Record, inline: Mapping[Digest, bytes], bound: Pin | None) -> None:
        """See `RecordFiles`."""
        (self._frozen if record.is_frozen else self._usual).put(token, record, inline, bound)

    def touch(self, token: str) -> bool:
        """See `RecordFiles`."""
        return self._usual.touch(token) or self._frozen.touch(token)

    def evict(self, token: str) -> bool:
        """See `RecordFiles`."""
        return self._usual.evict(token) or self._frozen.evict(token)

    def frozen(self) -> list[str]:
        """Return the tokens of all records of frozen images."""
        return [path.name for shard in self._frozen.shards() for path in shard.iterdir() if well_formed(path.name)]

    def shards(self) -> list[tuple[RecordFiles, Path]]:
        """Return the directories that records are in, each with its place."""
        return [(each, shard) for each in self._all for shard in each.shards()]
