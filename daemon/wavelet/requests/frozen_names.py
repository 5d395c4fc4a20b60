"""The frozen names of the node's own registry that this node has answered, each with its image, while such names live.

Engines pull the manifest by tag, and then what is in it by digest; a digest does not say which of a repository's tags
it is of. What a name answered is remembered for as long as the name lives, so that its digests can be pulled as long.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from cachetools import FIFOCache

from wavelet.config import Apply, Settings
from wavelet.image.image import Image
from wavelet.plan.delivery import FROZEN
from wavelet.quantities import is_within
from wavelet.resolve.memo import Memo
from wavelet.store.database import Database

SCHEMA = """
CREATE TABLE IF NOT EXISTS frozen_names (path TEXT, tag TEXT, key TEXT, at REAL, PRIMARY KEY (path, tag)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS frozen_names_at ON frozen_names (path, at);
"""

LATEST = 1024
"""Names that are known without a look into the database, and that may not be written yet."""

USE_GRAIN = 86400.0
"""Seconds within which a further answer is not written down (less where the names live shorter)."""


@dataclass(frozen=True, slots=True)
class FrozenAnswer:
    """What a frozen name has answered: the key of its image, last at a time in unix seconds."""

    path: str
    tag: str
    key: str
    at: float

    @property
    def name(self) -> str:
        """The name by which it is pulled, without the authority."""
        return f"{FROZEN}/{self.path}:{self.tag}"


class FrozenNames:
    """Remembers what frozen names have answered."""

    def __init__(self, database: Database, memo: Memo, settings: Settings) -> None:
        """Use a database with `SCHEMA`."""
        self._database = database
        self._memo = memo
        self.configure(settings)()
        self._latest: FIFOCache[tuple[str, str], FrozenAnswer] = FIFOCache(LATEST)

    def configure(self, settings: Settings) -> Apply:
        """See `Configurable`: for how many seconds a name lives."""

        def apply() -> None:
            self._lifetime = settings.freeze.lifetime

        return apply

    def put(self, path: str, tag: str, key: str) -> None:
        """Remember that `frozen/<path>:<tag>` has answered the image with `key`."""
        now = time.time()
        known = self._latest.pop((path, tag), None)
        if known is None or known.key != key or not is_within(known.at, now, min(USE_GRAIN, self._lifetime / 100)):
            known = FrozenAnswer(path, tag, key, now)
            self._database.write_later("INSERT OR REPLACE INTO frozen_names VALUES (?, ?, ?, ?)", path, tag, key, now)
        self._latest[path, tag] = known  # the latest is kept last

    def images(self, path: str) -> Iterator[tuple[str, Image]]:
        """Yield the tags that a path has answered, each with its image, the latest first."""
        for answer in self._answers(path):
            if (image := self._memo.peek(answer.key)) is not None:
                yield answer.tag, image

    def _answers(self, path: str) -> Iterator[FrozenAnswer]:
        now = time.time()
        latest = [answer for answer in reversed([*self._latest.values()]) if answer.path == path]
        yield from (answer for answer in latest if self._lives(answer, now))
        known = {answer.tag for answer in latest}
        rows = self._database.read("SELECT tag, key, at FROM frozen_names WHERE path = ? ORDER BY at DESC", path)
        older = (FrozenAnswer(path, *row) for row in rows if row[0] not in known)
        yield from (answer for answer in older if self._lives(answer, now))

    def key(self, path: str, tag: str) -> str | None:
        """Return the key of the image that a name has answered."""
        answer = self._latest.get((path, tag))
        if answer is None:
            rows = self._database.read("SELECT key, at FROM frozen_names WHERE path = ? AND tag = ?", path, tag)
            answer = FrozenAnswer(path, tag, *rows[0]) if rows else None
        return answer.key if answer is not None and self._lives(answer, time.time()) else None

    def image(self, path: str, tag: str) -> Image | None:
        """Return the image that a name has answered, which does not count as a use of it."""
        key = self.key(path, tag)
        return None if key is None else self._memo.peek(key)

    def all(self) -> list[FrozenAnswer]:
        """Return all that is written down and lives, the latest first."""
        now = time.time()
        rows = self._database.read("SELECT path, tag, key, at FROM frozen_names ORDER BY at DESC")
        return [answer for answer in (FrozenAnswer(*row) for row in rows) if self._lives(answer, now)]

    def forget(self, path: str, tag: str) -> None:
        """Forget what a name has answered."""
        self._latest.pop((path, tag), None)
        self._database.write_later("DELETE FROM frozen_names WHERE path = ? AND tag = ?", path, tag)

    def expire(self) -> None:
        """Forget what is past its lifetime."""
        now = time.time()
        self._database.write_later("DELETE FROM frozen_names WHERE at <= ?", now - self._lifetime)
        self._database.write_later("UPDATE frozen_names SET at = ? WHERE at > ?", now, now)

    def _lives(self, answer: FrozenAnswer, now: float) -> bool:
        return answer.at + self._lifetime > now
