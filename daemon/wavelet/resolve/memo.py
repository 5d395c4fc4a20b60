"""The memo of what was made: images by the key of their pinned plan.

An image's row never goes stale, for making is pure. It goes when it was not asked for in `UNUSED_LIFETIME`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Mapping
from typing import Any

import msgspec
import structlog
from cachetools import LRUCache

from wavelet.errors import InvalidRequest, NewerForm
from wavelet.image.image import Content, Descriptor, FromLocation, FromUpstream, Image, Joined, MadeBy, Source
from wavelet.image.reference import Digest, Repository
from wavelet.plan.canonical import Forms, decode, encode
from wavelet.plan.canonical import key as key_of
from wavelet.plan.node import Node
from wavelet.quantities import is_within
from wavelet.store.database import Database

log = structlog.get_logger()

SCHEMA = """
CREATE TABLE IF NOT EXISTS images (key TEXT PRIMARY KEY, plan BLOB, image BLOB, used REAL) WITHOUT ROWID;
"""

UNUSED_LIFETIME = 90 * 86400
IMAGES_IN_MEMORY = 1024

USE_GRAIN = 3600.0

RENEWED_WITHIN = UNUSED_LIFETIME / 9
"""Seconds within which what is renewed is not written down again."""


class Memo:
    """The images of one node, in its database."""

    def __init__(self, database: Database, forms: Forms) -> None:
        self._database = database
        self._forms = forms
        self._hot: LRUCache[str, Image] = LRUCache(IMAGES_IN_MEMORY)

    def get(self, key: str) -> Image | None:
        """Return the image of the plan with `key`, if it was made before."""
        image = self._hot.get(key)
        if image is not None:
            return image
        image, used = self._read(key)
        if image is not None:
            self._hot[key] = image
            if not is_within(used, time.time(), USE_GRAIN):
                self._database.write_later("UPDATE images SET used = ? WHERE key = ?", time.time(), key)
                self.renew(image.makers)  # what is evicted of it is made again by these
        return image

    def peek(self, key: str) -> Image | None:
        """Return the same as `get`, which does not count as a use."""
        return self._hot.get(key) or self._read(key)[0]

    def _read(self, key: str) -> tuple[Image | None, float]:
        rows = self._database.read("SELECT image, used FROM images WHERE key = ?", key)
        try:
            return (decode_image(rows[0][0]), rows[0][1]) if rows else (None, 0.0)
        except (msgspec.DecodeError, UnicodeDecodeError, TypeError) as error:
            log.warning("an image's row cannot be read; it is made again", key=key, reason=repr(error))
            return None, 0.0

    def plan(self, key: str) -> Node | None:
        """Return the pinned plan with `key`; None if it is not known, or if this version makes something else of it."""
        rows = self._database.read("SELECT plan FROM images WHERE key = ?", key)
        try:
            plan = decode(rows[0][0], self._forms) if rows else None
        except (InvalidRequest, NewerForm):  # another version wrote it: as good as not there
            return None
        return plan if plan is not None and key_of(plan) == key else None

    async def put(self, key: str, plan: Node, image: Image) -> None:
        """Remember an image."""
        self._hot[key] = image
        row = (key, encode(plan), encode_image(image), time.time())
        await self._database.write([("INSERT OR REPLACE INTO images VALUES (?, ?, ?, ?)", row)])

    def renew(self, keys: Collection[str]) -> None:
        """Count the images with these keys as used, where that was not counted lately."""
        now = time.time()
        sql = "UPDATE images SET used = ? WHERE used < ? AND key IN (SELECT value FROM json_each(?))"
        self._database.write_later(sql, now, now - RENEWED_WITHIN, json.dumps(list(keys)))

    def expire(self) -> None:
        """Forget images that nobody has asked for in `UNUSED_LIFETIME`."""
        now = time.time()
        self._database.write_later("DELETE FROM images WHERE used < ?", now - UNUSED_LIFETIME)
        self._database.write_later("UPDATE images SET used = ? WHERE used > ?", now, now)


def encode_image(image: Image) -> bytes:
    """Return an image as JSON."""
    members = [
        content.descriptor.as_json() | _encode_urls(content.descriptor) | _encode_source(content.source)
        for content in image.contents
    ]
    document: dict[str, Any] = {"descriptor": image.descriptor.as_json(), "contents": members}
    if image.derived_from:
        repositories = sorted(image.derived_from, key=str)
        document["derivedFrom"] = [{"host": each.host, "path": each.path} for each in repositories]
    return json.dumps(document, separators=(",", ":")).encode()


def decode_image(data: bytes) -> Image:
    """Read what `encode_image` wrote.

    Raises:
        msgspec.DecodeError: it is something else.
    """
    document = msgspec.json.decode(data, type=_Document)
    single = {member.digest: Content(_descriptor(member), _source(member)) for member in document.contents
              if member.joined is None}  # fmt: skip
    contents = tuple(
        single[member.digest] if member.joined is None else Content(_descriptor(member), _joined(member, single))
        for member in document.contents
    )
    derived = frozenset(Repository(each.host, each.path) for each in document.derived_from)
    return Image(_descriptor(document.descriptor), contents, derived)


class _Member(msgspec.Struct, rename="camel"):
    """A descriptor, and in a closure where its content comes from."""

    media_type: str
    digest: str
    size: int
    urls: tuple[str, ...] = ()
    host: str | None = None
    path: str | None = None
    location: str | None = None
    diff_id: str | None = None
    made_by: str | None = None
    joined: tuple[str, ...] | None = None


class _Repository(msgspec.Struct):
    host: str
    path: str


class _Document(msgspec.Struct, rename="camel"):
    descriptor: _Member
    contents: tuple[_Member, ...]
    derived_from: tuple[_Repository, ...] = ()


def _encode_urls(descriptor: Descriptor) -> dict[str, list[str]]:
    return {"urls": list(descriptor.urls)} if descriptor.urls else {}


def _encode_source(source: Source) -> dict[str, Any]:
    match source:
        case FromUpstream(repository):
            return {"host": repository.host, "path": repository.path}
        case FromLocation(location, diff_id):
            return {"location": location, "diffId": diff_id}
        case MadeBy(key):
            return {"madeBy": key}
        case Joined(parts):  # which are members of the image themselves
            return {"joined": [part.descriptor.digest for part in parts]}


def _joined(member: _Member, single: Mapping[str, Content]) -> Joined:
    assert member.joined is not None
    missing = [digest for digest in member.joined if digest not in single]
    if missing:
        raise msgspec.ValidationError(f"nothing says where {missing[0]} comes from")
    return Joined(tuple(single[digest] for digest in member.joined))


def _source(member: _Member) -> Source:
    if member.made_by is not None:
        return MadeBy(member.made_by)
    if member.location is not None and member.diff_id is not None:
        return FromLocation(member.location, Digest(member.diff_id))
    if member.host is not None and member.path is not None:
        return FromUpstream(Repository(member.host, member.path))
    raise msgspec.ValidationError(f"nothing says where {member.digest} comes from")


def _descriptor(member: _Member) -> Descriptor:
    return Descriptor(member.media_type, Digest(member.digest), member.size, member.urls)
