"""Records and claims of a node by itself, in its own database."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import structlog

from wavelet.cluster.claims import BLOB_LIMIT, UNUSED_LIFETIME, USE_GRAIN, name_of, seal, unseal
from wavelet.cluster.recent_records import RecentRecords
from wavelet.cluster.records import (
    Lifetimes,
    Record,
    Stored,
    authenticate,
    check_bytes,
    check_named,
    damaged_binding,
    holds,
    not_found,
    open_binding,
    seal_binding,
    used_last,
)
from wavelet.errors import DamagedBinding, DirectoryUnavailable, InvalidRequest, NewerForm, NoSpace, OurError
from wavelet.image.reference import Digest
from wavelet.plan.canonical import Forms, Pin
from wavelet.plan.node import Node
from wavelet.quantities import SKEW, is_within
from wavelet.store.database import Database, Statement

log = structlog.get_logger()

SCHEMA = """
CREATE TABLE IF NOT EXISTS records (token TEXT PRIMARY KEY, record BLOB, created REAL, used REAL);
CREATE INDEX IF NOT EXISTS records_used ON records (used);
CREATE TABLE IF NOT EXISTS inline_layers (token TEXT, digest TEXT, content BLOB, PRIMARY KEY (token, digest));
CREATE TABLE IF NOT EXISTS bindings (token TEXT PRIMARY KEY, binding BLOB);
CREATE TABLE IF NOT EXISTS frozen (token TEXT PRIMARY KEY) WITHOUT ROWID;
"""
"""`frozen` has the tokens of those records that live as long as the names of frozen images do."""

_LEFT_BEHIND = (
    "DELETE FROM inline_layers WHERE token NOT IN (SELECT token FROM records)",
    "DELETE FROM bindings WHERE token NOT IN (SELECT token FROM records)",
    "DELETE FROM frozen WHERE token NOT IN (SELECT token FROM records)",
)
"""What goes with records that have gone."""

_USE = (
    "UPDATE records SET used = ?3 WHERE token = ?4 "
    "AND used > CASE WHEN token IN (SELECT token FROM frozen) THEN ?1 ELSE ?2 END"
)
_EXPIRE = (
    "DELETE FROM records WHERE used > ?3 "
    "OR (used <= max(?1, ?2) AND used <= CASE WHEN token IN (SELECT token FROM frozen) THEN ?1 ELSE ?2 END)"
)
"""First come the times, in unix seconds, since when a record has to have been used that lives: see `_oldest`."""

IN_LOOP_BYTES = 16 * 1024
"""Bytes of a record up to which it is looked at in the event loop: about a millisecond."""

T = TypeVar("T")

_Row = tuple[bytes, float, float]


class SqliteRecords:
    """See `wavelet.cluster.records.Records`. A put that returned survives power loss (WAL, synchronous FULL)."""

    def __init__(
        self, database: Database, key: bytes, forms: Forms, lifetimes: Lifetimes, clock: Callable[[], float] = time.time
    ) -> None:
        """Use a database with `SCHEMA`.

        Args:
            database: its owner closes it.
            key: the cluster's.
            forms: those in which plans are kept.
            lifetimes: of records after their last use.
            clock: gives unix seconds.
        """
        self._database = database
        self._key = key
        self._forms = forms
        self._clock = clock
        self._recent = RecentRecords(lifetimes, clock)

    async def get(self, token: str, *, patient: bool = True) -> Stored | None:
        """See `Records.get`. A point read, in the loop; a long record is looked at in a thread."""
        if (stored := self._recent.get(token)) is not None:
            return stored
        since = self._recent.forgotten
        try:
            stored, size = await self._stored(token)
            if stored is not None and stored.pin is None:
                bound, bytes_more = await self._bound(token, stored.record.plan)
                stored, size = replace(stored, pin=bound), size + bytes_more
        except (NewerForm, DamagedBinding) as error:
            if patient:
                raise
            log.warning("a record is of no use", token=token, reason=error.message)
            return None
        if stored is not None:
            self._recent.add(token, stored, size, since)
        return stored

    async def _stored(self, token: str) -> tuple[Stored | None, int]:
        """Return a record, without what it was bound to, and its size; raise NewerForm."""
        row = self._row(token)
        if row is None:
            return None, 0
        data, created, _ = row
        used = used_last(created, row[2], self._clock())
        if used is None or used + self._recent.lifetimes.longest <= self._clock():
            return None, 0
        try:
            record = await _run(authenticate, data, token, data, self._key, self._forms)
        except InvalidRequest as error:
            log.warning("a record is not authentic", token=token, reason=error.message)
            return None, 0
        if self._recent.lifetimes.after(used, frozen=record.is_frozen) <= self._clock():
            return None, 0
        return Stored(record, created, used, record.pin), len(data)

    async def _bound(self, token: str, asked: Node) -> tuple[Pin | None, int]:
        """Return what a name was bound to, and the size of the binding; raise NewerForm, DamagedBinding."""
        try:
            rows = self._database.read("SELECT binding FROM bindings WHERE token = ?", token)
        except sqlite3.Error as error:
            raise self._unreadable(error) from error
        if not rows:
            return None, 0
        data = rows[0][0]
        try:
            if not isinstance(data, bytes):
                raise InvalidRequest("it has no bytes")
            return await _run(open_binding, data, token, data, asked, self._key, self._forms), len(data)
        except InvalidRequest as error:
            raise damaged_binding(token, error.message) from None

    async def put(self, record: Record, inline: Mapping[Digest, bytes]) -> str:
        """See `Records.put`."""
        check_named(record, inline)
        if inline:
            await asyncio.to_thread(check_bytes, inline)
        token = record.token(self._key)
        known = await self._is_there(token)
        if known and not inline and not self._recent.use_is_due(token):
            return token
        useless = None if known else self._row(token)
        await self._write(self._put(token, record, inline, useless))
        self._recent.used(token)
        return token

    async def _is_there(self, token: str) -> bool:
        if self._recent.get(token) is not None:
            return True
        since = self._recent.forgotten
        try:
            stored, size = await self._stored(token)
        except NewerForm:
            return False
        if stored is not None:
            self._recent.add(token, stored, size, since)
        return stored is not None

    async def bind(self, token: str, pin: Pin) -> Pin:
        """See `Records.bind`. It asks the database, whatever is remembered."""
        stored, _ = await self._stored(token)
        if stored is None:
            raise not_found(token)
        asked = stored.record.plan
        bound = stored.pin or (await self._bound(token, asked))[0]
        if bound is None:
            # Not without a record: it may be evicted meanwhile.
            statement = "INSERT OR IGNORE INTO bindings SELECT token, ? FROM records WHERE token = ?"
            try:
                sealed = await asyncio.to_thread(seal_binding, token, pin, asked, self._key, self._forms)
                await self._write([(statement, (sealed, token))])
            except OurError as error:
                # Nothing can be answered under this name now, and that is all that whoever pulls it has to know.
                raise DirectoryUnavailable(error.message) from error
            bound, _ = await self._bound(token, asked)
        if bound is None:
            raise not_found(token)
        return bound

    def _put(
        self, token: str, record: Record, inline: Mapping[Digest, bytes], useless: _Row | None
    ) -> Iterable[Statement]:
        now = self._clock()
        if useless is not None:
            yield "DELETE FROM records WHERE token = ? AND record = ? AND used = ?", (token, useless[0], useless[2])
        yield (
            "INSERT INTO records VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET used = excluded.used",
            (token, record.encode(), now, now),
        )
        if record.is_frozen:
            yield "INSERT OR IGNORE INTO frozen VALUES (?)", (token,)
        for digest, content in inline.items():
            yield "INSERT OR REPLACE INTO inline_layers VALUES (?, ?, ?)", (token, str(digest), content)

    def _row(self, token: str) -> _Row | None:
        try:
            rows = self._database.read("SELECT record, created, used FROM records WHERE token = ?", token)
        except sqlite3.Error as error:
            raise self._unreadable(error) from error
        return (rows[0][0], rows[0][1], rows[0][2]) if rows else None

    async def inline(self, token: str, digest: Digest) -> bytes | None:
        """See `Records.inline`. Read in a thread: a layer may have many megabytes."""
        return await asyncio.to_thread(self._read_inline, token, digest)

    def _read_inline(self, token: str, digest: Digest) -> bytes | None:
        query = "SELECT content FROM inline_layers WHERE token = ? AND digest = ?"
        try:
            with contextlib.closing(sqlite3.connect(f"{self._database.path.as_uri()}?mode=ro", uri=True)) as connection:
                row: tuple[bytes] | None = connection.execute(query, (token, str(digest))).fetchone()
        except sqlite3.Error as error:
            raise self._unreadable(error) from error
        if row is None:
            return None
        if not holds(digest, row[0]):
            log.warning("an inline layer is damaged", token=token, digest=digest)
            return None
        return row[0]

    async def touch(self, token: str) -> None:
        """See `Records.touch`. Written soon, without waiting."""
        if self._recent.use_is_due(token):
            now = self._clock()
            self._database.write_later(_USE, *self._oldest(now), now, token)
            self._recent.used(token)

    async def evict(self, token: str) -> bool:
        """See `Records.evict`."""
        self._recent.forget(token)
        evicted = await self._write(
            [
                ("DELETE FROM records WHERE token = ?", (token,)),
                ("DELETE FROM inline_layers WHERE token = ?", (token,)),
                ("DELETE FROM bindings WHERE token = ?", (token,)),
                ("DELETE FROM frozen WHERE token = ?", (token,)),
            ]
        )
        self._recent.forget(token)
        return evicted > 0

    async def frozen(self) -> list[str]:
        """See `Records.frozen`."""
        try:
            return [token for (token,) in self._database.read("SELECT token FROM frozen")]
        except sqlite3.Error as error:
            raise self._unreadable(error) from error

    async def expire(self) -> int:
        """Forget what is past its lifetime; return how many records."""
        now = self._clock()
        # See `records.used_last`.
        await self._write([("UPDATE records SET used = created WHERE used > ?", (now + SKEW,))])
        gone = await self._write([(_EXPIRE, (*self._oldest(now), now + SKEW))])
        if gone:
            await self._write([(statement, ()) for statement in _LEFT_BEHIND])
        return gone

    def check(self) -> None:
        """Return if records can be read.

        Raises:
            OurError: they cannot, and why.
        """
        self._row("")

    def keep_for(self, lifetimes: Lifetimes) -> None:
        """Count other lifetimes from now on."""
        self._recent.lifetimes = lifetimes

    def _oldest(self, now: float) -> tuple[float, float]:
        """Return since when a record has to have been used that still lives: a frozen image's, and any other."""
        return now - self._recent.lifetimes.frozen, now - self._recent.lifetimes.usual

    def _unreadable(self, error: sqlite3.Error) -> OurError:
        return OurError(f"the records in {self._database.path} cannot be read: {error}")

    async def _write(self, statements: Iterable[Statement]) -> int:
        try:
            return await self._database.write(statements)
        except sqlite3.Error as error:
            kind = NoSpace if error.sqlite_errorcode == sqlite3.SQLITE_FULL else OurError
            raise kind(f"the records in {self._database.path} cannot be written: {error}") from error


async def _run(work: Callable[..., T], data: bytes, *arguments: object) -> T:
    """Return what `work` makes of `data`, in a thread if that takes longer than the hop to it."""
    if len(data) > IN_LOOP_BYTES:
        return await asyncio.to_thread(work, *arguments)
    return work(*arguments)


CLAIMS_SCHEMA = """
CREATE TABLE IF NOT EXISTS claims (name TEXT PRIMARY KEY, claim BLOB, used REAL) WITHOUT ROWID;
"""

_INSERT = "INSERT OR IGNORE INTO claims VALUES (?, ?, ?)"
_REPLACE = "INSERT OR REPLACE INTO claims VALUES (?, ?, ?)"


class SqliteClaims:
    """See `wavelet.cluster.claims.Claims`."""

    shares = False

    def __init__(self, database: Database, secret: bytes, clock: Callable[[], float] = time.time) -> None:
        """Use a database with `CLAIMS_SCHEMA`; `secret` is the cluster's key, `clock` gives unix seconds."""
        self._database = database
        self._secret = secret
        self._clock = clock

    async def claim(self, key: str, data: bytes, *, replace: bool = False) -> bytes:
        """See `Claims.claim`."""
        standing = None if replace else await self.claimed(key)
        if standing is not None:
            return standing
        # What is there already is not authentic; what comes in between is another's claim, and stands.
        known = self._database.read("SELECT 1 FROM claims WHERE name = ?", name_of(key))
        row = (name_of(key), seal(self._secret, key, data), self._clock())
        await self._database.write([(_REPLACE if replace or known else _INSERT, row)])
        return await self.claimed(key) or data

    async def claimed(self, key: str) -> bytes | None:
        """See `Claims.claimed`."""
        rows = self._database.read("SELECT claim, used FROM claims WHERE name = ?", name_of(key))
        if not rows:
            return None
        if not is_within(rows[0][1], self._clock(), USE_GRAIN):
            self._database.write_later("UPDATE claims SET used = ? WHERE name = ?", self._clock(), name_of(key))
        return unseal(self._secret, key, rows[0][0], "this node's database")

    async def renew(self, key: str, digests: Collection[Digest]) -> None:
        """See `Claims.renew`. It keeps no blobs."""
        await self.claimed(key)

    async def share(self, file: Path, digest: Digest) -> None:
        """See `Claims.share`. It keeps nothing: the store has the blob."""

    async def fetch(self, digest: Digest, file: Path, limit: int = BLOB_LIMIT) -> int | None:
        """See `Claims.fetch`. It finds nothing."""
        return None

    async def expire(self) -> int:
        """Forget what was not used in `UNUSED_LIFETIME`; return how many claims."""
        now = self._clock()
        self._database.write_later("UPDATE claims SET used = ? WHERE used > ?", now, now)
        return await self._database.write([("DELETE FROM claims WHERE used < ?", (now - UNUSED_LIFETIME,))])
