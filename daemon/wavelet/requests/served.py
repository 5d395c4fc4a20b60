"""The images that each name has answered: together they are what the name may hand out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

from cachetools import FIFOCache, LRUCache

from wavelet.config import Apply, Settings
from wavelet.image.image import Content, Image
from wavelet.image.reference import Digest
from wavelet.plan.delivery import token_of
from wavelet.quantities import is_within
from wavelet.requests import frozen_names
from wavelet.requests.frozen_names import FrozenNames
from wavelet.requests.request import answer_name
from wavelet.resolve.memo import Memo
from wavelet.store.database import Database

SCHEMA = """
CREATE TABLE IF NOT EXISTS answers (name TEXT, key TEXT, at REAL, PRIMARY KEY (name, key)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS pulled (name TEXT, key TEXT, reference TEXT, PRIMARY KEY (name, key)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS tags (name TEXT, tag TEXT, key TEXT, at REAL, PRIMARY KEY (name, tag)) WITHOUT ROWID;
"""
SCHEMA += frozen_names.SCHEMA

NAMES_IN_MEMORY = 4096
LATEST_ANSWERS = 1024
"""Answers that are listed though their rows may not be written yet."""

IMAGES_OF_A_NAME = 256
"""Images that are looked through for a digest; of a repository's older ones the upstream is asked again."""


@dataclass(frozen=True, slots=True)
class ServedImage:
    """An image that `name` has answered at a time (unix seconds), last when `reference` was pulled."""

    name: str
    reference: str
    image: Image
    at: float


class ServedImages:
    """Which images each name has answered within the retention time: together they are what it may hand out.

    Attributes:
        frozen: the frozen names, which are remembered for longer.
    """

    def __init__(self, database: Database, memo: Memo, settings: Settings) -> None:
        self._database = database
        self._memo = memo
        self.frozen = FrozenNames(database, memo, settings)
        self.configure(settings)()
        self._hot: LRUCache[str, dict[str, float]] = LRUCache(NAMES_IN_MEMORY)
        self._latest: FIFOCache[tuple[str, str], tuple[float, str]] = FIFOCache(LATEST_ANSWERS)
        self._hot_tags: LRUCache[str, dict[str, tuple[str, float]]] = LRUCache(NAMES_IN_MEMORY)

    def configure(self, settings: Settings) -> Apply:
        """See `Configurable`: for how many seconds an answer is remembered."""
        frozen = self.frozen.configure(settings)

        def apply() -> None:
            self._retention = settings.store.retention
            frozen()

        return apply

    def put(self, name: str, key: str, reference: str = "") -> None:
        """Remember that `name` has answered the image with `key`, when `reference` was pulled (without authority)."""
        now = time.time()
        keys = self._keys(name)
        if not is_within(keys.get(key, 0.0), now, self._retention / 100):
            self._database.write_later("INSERT OR REPLACE INTO answers VALUES (?, ?, ?)", name, key, now)
            if reference:
                self._database.write_later("INSERT OR REPLACE INTO pulled VALUES (?, ?, ?)", name, key, reference)
            self._latest[name, key] = now, reference
            keys.pop(key, None)  # the latest is kept last
            keys[key] = now
            if len(keys) > IMAGES_OF_A_NAME:
                del keys[next(iter(keys))]

    def tag(self, name: str, tag: str, key: str) -> None:
        """Remember that `name` has answered a tag with the image with `key`."""
        now = time.time()
        known = self._tags(name).get(tag)
        if known is None or known[0] != key or abs(now - known[1]) > self._retention / 100:
            self._database.write_later("INSERT OR REPLACE INTO tags VALUES (?, ?, ?, ?)", name, tag, key, now)
            self._tags(name)[tag] = key, now

    def tags(self, name: str) -> Iterator[tuple[str, Image]]:
        """Yield the tags that a name has answered, in their order, each with its image."""
        now = time.time()
        for tag, (key, at) in sorted(self._tags(name).items()):
            image = self._memo.get(key) if is_within(at, now, self._retention) else None
            if image is not None:
                yield tag, image

    def images(self, name: str) -> Iterator[Image]:
        """Yield the images, latest first."""
        now = time.time()
        keys = self._keys(name)
        for key, at in reversed(keys.items()):
            image = self._memo.get(key) if is_within(at, now, self._retention) else None
            if image is not None:
                yield image

    def all(self) -> Iterator[ServedImage]:
        """Yield every answer, the latest first; then those of frozen names that were pulled longer ago."""
        now = time.time()
        rows = self._database.read(
            "SELECT name, key, at, reference FROM answers LEFT JOIN pulled USING (name, key) WHERE at BETWEEN ? AND ?",
            now - self._retention,
            now,
        )
        known = {(name, key): (at, reference) for name, key, at, reference in rows} | dict(self._latest)
        for (name, key), (at, reference) in sorted(known.items(), key=lambda item: -item[1][0]):
            image = self._memo.peek(key) if at <= now else None
            if image is not None:
                yield ServedImage(name, reference or f"{name}@{image.descriptor.digest}", image, at)
        for answer in self.frozen.all():
            name = answer_name(token_of(answer.tag))
            image = None if (name, answer.key) in known else self._memo.peek(answer.key)
            if image is not None:
                yield ServedImage(name, answer.name, image, answer.at)

    def keys_by_tag(self, name: str) -> list[str]:
        """Return the keys of what a name has answered to a tag, latest first; what is a moment old may be missing."""
        sql = (
            "SELECT key FROM answers JOIN pulled USING (name, key) WHERE name = ? AND at BETWEEN ? AND ? "
            "AND instr(reference, '@') = 0 ORDER BY at DESC"
        )
        now = time.time()
        return [key for (key,) in self._database.read(sql, name, now - self._retention, now)]

    async def frozen_tags(self, path: str, digest: Digest, under: str = "") -> AsyncIterator[str]:
        """Yield the tags of `frozen/<path>` that have answered an image with `digest` in it, the latest first.

        `under` is what stands before that name where it is asked for in another form.
        """
        for tag, image in self.frozen.images(path):
            is_in_image = not under and digest in image.closure
            if is_in_image or self.find(f"{under}{answer_name(token_of(tag))}", digest) is not None:
                yield tag
            await asyncio.sleep(0)  # a path may have thousands of tags, and each takes a look at its image

    def find(self, name: str, digest: Digest) -> tuple[Image, Content] | None:
        """Return what `digest` is in the closure of `name`, and the image that it belongs to."""
        for image in self.images(name):
            content = image.closure.get(digest)
            if content is not None:
                return image, content
        return None

    def forget(self, name: str) -> None:
        """Forget all that a name has answered."""
        self._hot.pop(name, None)
        for answer in [answer for answer in self._latest if answer[0] == name]:
            del self._latest[answer]
        self._database.write_later("DELETE FROM answers WHERE name = ?", name)
        self._database.write_later("DELETE FROM pulled WHERE name = ?", name)
        self._hot_tags.pop(name, None)
        self._database.write_later("DELETE FROM tags WHERE name = ?", name)

    def expire(self) -> None:
        """Forget answers that are past the retention time, and frozen names that are past their lifetime."""
        self.frozen.expire()
        now = time.time()
        self._database.write_later("DELETE FROM answers WHERE at NOT BETWEEN ? AND ?", now - self._retention, now)
        self._database.write_later("DELETE FROM tags WHERE at NOT BETWEEN ? AND ?", now - self._retention, now)
        self._database.write_later("DELETE FROM pulled WHERE (name, key) NOT IN (SELECT name, key FROM answers)")

    def _tags(self, name: str) -> dict[str, tuple[str, float]]:
        tags = self._hot_tags.get(name)
        if tags is None:
            sql = "SELECT tag, key, at FROM tags WHERE name = ? ORDER BY at DESC LIMIT ?"
            tags = {tag: (key, at) for tag, key, at in self._database.read(sql, name, IMAGES_OF_A_NAME)}
            self._hot_tags[name] = tags
        return tags

    def _keys(self, name: str) -> dict[str, float]:
        keys = self._hot.get(name)
        if keys is None:
            sql = "SELECT key, at FROM answers WHERE name = ? ORDER BY at DESC LIMIT ?"
            keys = dict(reversed(self._database.read(sql, name, IMAGES_OF_A_NAME)))
            self._hot[name] = keys
        return keys
