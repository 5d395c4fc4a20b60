"""The tables in which a layer's tree is put together: in a file, so that memory stays bounded however large it is."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from wavelet.kinds.sif.segments.index import EntryKind

_SCHEMA = """
PRAGMA page_size = 4096;
PRAGMA cache_size = -16384;
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
PRAGMA locking_mode = EXCLUSIVE;
PRAGMA temp_store = MEMORY;
CREATE TABLE entries (
  key BLOB PRIMARY KEY,
  kind TEXT,
  mode INTEGER NOT NULL DEFAULT 0,
  uid INTEGER NOT NULL DEFAULT 0,
  gid INTEGER NOT NULL DEFAULT 0,
  mtime INTEGER NOT NULL DEFAULT 0,
  target BLOB NOT NULL DEFAULT x'',
  xattrs BLOB,
  content INTEGER NOT NULL DEFAULT 0,
  inode INTEGER NOT NULL DEFAULT 0,
  implied INTEGER NOT NULL DEFAULT 0,
  opaque INTEGER NOT NULL DEFAULT 0,
  whited INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE TABLE contents (id INTEGER PRIMARY KEY, data BLOB NOT NULL);
CREATE TABLE digests (digest BLOB PRIMARY KEY, content INTEGER NOT NULL) WITHOUT ROWID;
BEGIN;
"""
"""16 MiB of it are in memory. It ends with the making, so nothing is ever committed. A null kind: only a whiteout."""

PENDING_AT_ONCE = 1024
"""Hard links that are in memory at a time."""


class Inode(NamedTuple):
    """What an entry is, whatever its name. `xattrs` is MessagePack, `content` a number of `Contents`."""

    kind: EntryKind
    mode: int = 0
    uid: int = 0
    gid: int = 0
    mtime: int = 0
    target: bytes = b""
    xattrs: bytes | None = None
    content: int = 0
    inode: int = 0


@contextmanager
def open_tables(file: Path) -> Iterator[sqlite3.Connection]:
    """Give new tables in a new file.

    Raises:
        OSError: the disk is full or cannot be written.
    """
    with closing(sqlite3.connect(file, isolation_level=None)) as tables:
        try:
            tables.executescript(_SCHEMA)
            yield tables
        except sqlite3.OperationalError as error:
            match error.sqlite_errorcode & 0xFF:
                case sqlite3.SQLITE_FULL:
                    raise OSError(errno.ENOSPC, "No space left on device") from error
                case sqlite3.SQLITE_IOERR | sqlite3.SQLITE_CANTOPEN:
                    raise OSError(errno.EIO, f"Input/output error ({error})") from error
            raise


class EntryRows:
    """The entries, by their keys: paths as entries are sorted by (`index.order`)."""

    def __init__(self, tables: sqlite3.Connection) -> None:
        self._do = tables.execute

    def add(self, key: bytes, inode: Inode) -> bool:
        """Add an entry where there is none yet; tell whether that is so."""
        added = self._do(
            "INSERT OR IGNORE INTO entries (key, kind, mode, uid, gid, mtime, target, xattrs, content, inode)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (key, *inode),
        )
        return added.rowcount > 0

    def change(self, key: bytes, inode: Inode, *, implied: bool = False) -> None:
        """Have an entry be something else."""
        self._do(
            "UPDATE entries SET kind = ?, mode = ?, uid = ?, gid = ?, mtime = ?, target = ?, xattrs = ?, content = ?,"
            " inode = ?, implied = ? WHERE key = ?",
            (*inode, implied, key),
        )

    def kind(self, key: bytes) -> EntryKind | None:
        """Return what kind of entry there is; None also where there is only a whiteout."""
        row = self._do("SELECT kind FROM entries WHERE key = ?", (key,)).fetchone()
        return row[0] if row else None

    def inode(self, key: bytes) -> Inode | None:
        """Return what there is; None also where there is only a whiteout."""
        row = self._do(
            "SELECT kind, mode, uid, gid, mtime, target, xattrs, content, inode FROM entries"
            " WHERE key = ? AND kind NOT NULL",
            (key,),
        ).fetchone()
        return Inode(*row) if row else None

    def symlink(self, key: bytes) -> bytes | None:
        """Return where a symbolic link leads; None where there is none."""
        row = self._do("SELECT target FROM entries WHERE key = ? AND kind = 'symlink'", (key,)).fetchone()
        return row[0] if row else None

    def remove_below(self, key: bytes) -> None:
        """Remove all that is in a directory, and what it hides."""
        self._do("DELETE FROM entries WHERE key > ? AND key < ?", (key + b"\0", key + b"\1"))
        self._do("UPDATE entries SET opaque = 0 WHERE key = ?", (key,))

    def white_out(self, key: bytes) -> None:
        """Take note of a whiteout."""
        self._do("INSERT INTO entries (key, whited) VALUES (?, 1) ON CONFLICT DO UPDATE SET whited = 1", (key,))

    def make_opaque(self, key: bytes) -> None:
        """Take note that a directory is opaque."""
        self._do("UPDATE entries SET opaque = 1 WHERE key = ?", (key,))

    def number(self, key: bytes, inode: int) -> None:
        """Give an entry the number that its names have in common."""
        self._do("UPDATE entries SET inode = ? WHERE key = ?", (inode, key))

    def lead(self, key: bytes, target: bytes) -> None:
        """Have a link lead elsewhere."""
        self._do("UPDATE entries SET target = ? WHERE key = ?", (target, key))

    def pending(self, after: bytes) -> list[tuple[bytes, bytes]]:
        """Return keys and targets of the next hard links that lead to nothing yet."""
        return self._do(
            "SELECT key, target FROM entries WHERE kind = 'link' AND key > ? ORDER BY key LIMIT ?",
            (after, PENDING_AT_ONCE),
        ).fetchall()

    def count(self) -> int:
        """Return how many there are."""
        counted: int = self._do("SELECT count(*) FROM entries").fetchone()[0]
        return counted

    def targets(self) -> set[bytes]:
        """Return where hard links lead that lead to nothing."""
        return {row[0] for row in self._do("SELECT target FROM entries WHERE kind = 'link'")}

    def ordered(self) -> Iterator[tuple[Any, ...]]:
        """Yield all by their keys: key, inode without its content's number, what is hidden, and contents."""
        rows = self._do(
            "SELECT key, kind, mode, uid, gid, mtime, target, xattrs, inode, implied, opaque, whited, data"
            " FROM entries LEFT JOIN contents ON contents.id = entries.content ORDER BY key"
        )
        # Not `yield from`, which would close the cursor with this generator: the tables may be closed by then.
        for row in rows:  # noqa: UP028
            yield row
