"""What was made: images by the key of their pinned plan, and which images each name has answered.

An image's row never goes stale, for making is pure. It goes when it was not asked for in `UNUSED_LIFETIME`.
"""

from __future__ import annotations

import json
import time
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
import structlog

from wavelet.ages import is_within
from wavelet.errors import InvalidRequest, NewerForm
from wavelet.image.digest import Digest
from wavelet.image.image import Content, FromLocation, FromUpstream, Image, MadeBy, Source
from wavelet.image.manifest import Descriptor
from wavelet.image.reference import Repository
from wavelet.plan.canonical import decode, encode
from wavelet.plan.canonical import key as key_of
from wavelet.plan.plan import Plan
from wavelet.store.database import Database

log = structlog.get_logger()

SCHEMA = """
CREATE TABLE IF NOT EXISTS images (key TEXT PRIMARY KEY, plan BLOB, image BLOB, used REAL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS answers (name TEXT, key TEXT, at REAL, PRIMARY KEY (name, key)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS pulled (name TEXT, key TEXT, reference TEXT, PRIMARY KEY (name, key)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS tags (name TEXT, tag TEXT, key TEXT, at REAL, PRIMARY KEY (name, tag)) WITHOUT ROWID;
"""

UNUSED_LIFETIME = 90 * 86400
IMAGES_IN_MEMORY = 1024
NAMES_IN_MEMORY = 4096
LATEST_ANSWERS = 1024
"""Answers that are listed though their rows may not be written yet."""

IMAGES_OF_A_NAME = 256
"""Images that are looked through for a digest; of a repository's older ones the upstream is asked again."""

USE_GRAIN = 3600.0


class Memo:
    """The images of one node, in its database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._hot: OrderedDict[str, Image] = OrderedDict()

    def get(self, key: str) -> Image | None:
        """Return the image that the plan with `key` is worth, if it was made before."""
        image = self._hot.get(key)
        if image is not None:
            self._hot.move_to_end(key)
            return image
        image, used = self._read(key)
        if image is not None:
            self._keep_hot(key, image)
            if not is_within(used, time.time(), USE_GRAIN):
                self._database.write_later("UPDATE images SET used = ? WHERE key = ?", time.time(), key)
        return image

    def peek(self, key: str) -> Image | None:
        """Return the same as `get`, which does not count as a use."""
        return self._hot.get(key) or self._read(key)[0]

    def _read(self, key: str) -> tuple[Image | None, float]:
        rows = self._database.read("SELECT image, used FROM images WHERE key = ?", key)
        try:
            return (decode_image(rows[0][0]), rows[0][1]) if rows else (None, 0.0)
        except (msgspec.DecodeError, UnicodeDecodeError, KeyError, TypeError, AttributeError) as error:
            log.warning("an image's row cannot be read; it is made again", key=key, reason=repr(error))
            return None, 0.0

    def plan(self, key: str) -> Plan | None:
        """Return the pinned plan with `key`; None if it is not known, or if this version makes something else of it."""
        rows = self._database.read("SELECT plan FROM images WHERE key = ?", key)
        try:
            plan = decode(rows[0][0]) if rows else None
        except (InvalidRequest, NewerForm):  # another version wrote it: as good as not there
            return None
        return plan if plan is not None and key_of(plan) == key else None

    async def put(self, key: str, plan: Plan, image: Image) -> None:
        """Remember an image."""
        self._keep_hot(key, image)
        row = (key, encode(plan), encode_image(image), time.time())
        await self._database.write([("INSERT OR REPLACE INTO images VALUES (?, ?, ?, ?)", row)])

    def expire(self) -> None:
        """Forget images that nobody has asked for in `UNUSED_LIFETIME`."""
        now = time.time()
        self._database.write_later("DELETE FROM images WHERE used < ?", now - UNUSED_LIFETIME)
        self._database.write_later("UPDATE images SET used = ? WHERE used > ?", now, now)

    def _keep_hot(self, key: str, image: Image) -> None:
        self._hot[key] = image
        if len(self._hot) > IMAGES_IN_MEMORY:
            self._hot.popitem(last=False)


@dataclass(frozen=True, slots=True)
class Answered:
    """An image that `name` has answered at a time (unix seconds), last when `reference` was pulled."""

    name: str
    reference: str
    image: Image
    at: float


class Answers:
    """Which images each name has answered within `retention` seconds; together they are what the name may hand out."""

    def __init__(self, database: Database, memo: Memo, retention: float) -> None:
        self._database = database
        self._memo = memo
        self.retention = retention
        self._hot: OrderedDict[str, dict[str, float]] = OrderedDict()
        self._latest: OrderedDict[tuple[str, str], tuple[float, str]] = OrderedDict()
        self._hot_tags: OrderedDict[str, dict[str, tuple[str, float]]] = OrderedDict()

    def put(self, name: str, key: str, reference: str = "") -> None:
        """Remember that `name` has answered the image with `key`, when `reference` was pulled (without authority)."""
        now = time.time()
        keys = self._keys(name)
        if not is_within(keys.get(key, 0.0), now, self.retention / 100):
            self._database.write_later("INSERT OR REPLACE INTO answers VALUES (?, ?, ?)", name, key, now)
            if reference:
                self._database.write_later("INSERT OR REPLACE INTO pulled VALUES (?, ?, ?)", name, key, reference)
            self._latest[name, key] = now, reference
            if len(self._latest) > LATEST_ANSWERS:
                self._latest.popitem(last=False)
            keys.pop(key, None)  # the latest is kept last
            keys[key] = now
            if len(keys) > IMAGES_OF_A_NAME:
                del keys[next(iter(keys))]

    def tag(self, name: str, tag: str, key: str) -> None:
        """Remember that `name` has answered a tag with the image with `key`."""
        now = time.time()
        known = self._tags(name).get(tag)
        if known is None or known[0] != key or abs(now - known[1]) > self.retention / 100:
            self._database.write_later("INSERT OR REPLACE INTO tags VALUES (?, ?, ?, ?)", name, tag, key, now)
            self._tags(name)[tag] = key, now

    def tags(self, name: str) -> Iterator[tuple[str, Image]]:
        """Yield the tags that a name has answered, in their order, each with its image."""
        now = time.time()
        for tag, (key, at) in sorted(self._tags(name).items()):
            image = self._memo.get(key) if is_within(at, now, self.retention) else None
            if image is not None:
                yield tag, image

    def images(self, name: str) -> Iterator[Image]:
        """Yield the images, latest first."""
        now = time.time()
        keys = self._keys(name)
        for key, at in reversed(keys.items()):
            image = self._memo.get(key) if is_within(at, now, self.retention) else None
            if image is not None:
                yield image

    def all(self) -> Iterator[Answered]:
        """Yield every answer, the latest first."""
        now = time.time()
        rows = self._database.read(
            "SELECT name, key, at, reference FROM answers LEFT JOIN pulled USING (name, key) WHERE at BETWEEN ? AND ?",
            now - self.retention,
            now,
        )
        known = {(name, key): (at, reference) for name, key, at, reference in rows} | self._latest
        for (name, key), (at, reference) in sorted(known.items(), key=lambda item: -item[1][0]):
            image = self._memo.peek(key) if at <= now else None
            if image is not None:
                yield Answered(name, reference or f"{name}@{image.descriptor.digest}", image, at)

    def keys_by_tag(self, name: str) -> list[str]:
        """Return the keys of what a name has answered to a tag, latest first; what is a moment old may be missing."""
        sql = (
            "SELECT key FROM answers JOIN pulled USING (name, key) WHERE name = ? AND at BETWEEN ? AND ? "
            "AND instr(reference, '@') = 0 ORDER BY at DESC"
        )
        now = time.time()
        return [key for (key,) in self._database.read(sql, name, now - self.retention, now)]

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
        """Forget answers that are past the retention time."""
        now = time.time()
        self._database.write_later("DELETE FROM answers WHERE at NOT BETWEEN ? AND ?", now - self.retention, now)
        self._database.write_later("DELETE FROM tags WHERE at NOT BETWEEN ? AND ?", now - self.retention, now)
        self._database.write_later("DELETE FROM pulled WHERE (name, key) NOT IN (SELECT name, key FROM answers)")

    def _tags(self, name: str) -> dict[str, tuple[str, float]]:
        tags = self._hot_tags.get(name)
        if tags is None:
            sql = "SELECT tag, key, at FROM tags WHERE name = ? ORDER BY at DESC LIMIT ?"
            tags = {tag: (key, at) for tag, key, at in self._database.read(sql, name, IMAGES_OF_A_NAME)}
            self._hot_tags[name] = tags
            if len(self._hot_tags) > NAMES_IN_MEMORY:
                self._hot_tags.popitem(last=False)
        return tags

    def _keys(self, name: str) -> dict[str, float]:
        keys = self._hot.get(name)
        if keys is None:
            sql = "SELECT key, at FROM answers WHERE name = ? ORDER BY at DESC LIMIT ?"
            keys = dict(reversed(self._database.read(sql, name, IMAGES_OF_A_NAME)))
            self._hot[name] = keys
            if len(self._hot) > NAMES_IN_MEMORY:
                self._hot.popitem(last=False)
        else:
            self._hot.move_to_end(name)
        return keys


def encode_image(image: Image) -> bytes:
    """Return an image as JSON."""
    members = [
        content.descriptor.as_json() | _encode_urls(content.descriptor) | _encode_source(content.source)
        for content in image.contents
    ]
    return json.dumps({"descriptor": image.descriptor.as_json(), "contents": members}, separators=(",", ":")).encode()


def decode_image(data: bytes) -> Image:
    """Read what `encode_image` wrote."""
    document = msgspec.json.decode(data)
    contents = tuple(Content(_descriptor(member), _source(member)) for member in document["contents"])
    return Image(_descriptor(document["descriptor"]), contents)


def _encode_urls(descriptor: Descriptor) -> dict[str, Any]:
    return {"urls": list(descriptor.urls)} if descriptor.urls else {}


def _encode_source(source: Source) -> dict[str, str]:
    match source:
        case FromUpstream(repository):
            return {"host": repository.host, "path": repository.path}
        case FromLocation(location, diff_id):
            return {"location": location, "diffId": diff_id}
        case MadeBy(key):
            return {"madeBy": key}


def _source(member: dict[str, Any]) -> Source:
    if "madeBy" in member:
        return MadeBy(member["madeBy"])
    if "location" in member:
        return FromLocation(member["location"], Digest(member["diffId"]))
    return FromUpstream(Repository(member["host"], member["path"]))


def _descriptor(member: dict[str, Any]) -> Descriptor:
    return Descriptor(member["mediaType"], Digest(member["digest"]), member["size"], tuple(member.get("urls", ())))
