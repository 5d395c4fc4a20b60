"""The opening of the node's databases, whatever is found in their place.

A database that is a cache is set aside when it is damaged, and begun anew. One that has what exists nowhere else is
left as it is, and the daemon does not start over it: whoever runs it decides what becomes of it.
"""

from __future__ import annotations

import contextlib
import errno
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path

import structlog

from wavelet.errors import NoSpace, OurError
from wavelet.store.database import Database, is_damage, primary_code
from wavelet.store.files import free_bytes
from wavelet.store.filesystem import refuse_network_filesystem

log = structlog.get_logger()

SET_ASIDE = ".damaged"
"""What the name of a database ends with that was set aside; the one before goes."""

CHECKED_WHOLE = 256 * 1024 * 1024
"""Bytes of a database up to which all pages are looked at when it is opened; that takes half a second."""

NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})

_LEAST_FREE = 128 * 1024
"""Bytes without which SQLite cannot begin its write-ahead log, which it calls an error of the disk."""


class DamagedError(Exception):
    """A file is not the database that it should be; the message says in what way."""


def open_cache(path: Path, schema: str) -> Database:
    """Open or make a database of what can be had again.

    Raises:
        ConfigError: the directory is on a network file system.
        NoSpace, OurError: it cannot be used, and why.
    """
    with _sentences(path):
        try:
            _check(path, schema)
        except DamagedError as error:
            aside = _set_aside(path)
            log.warning("a database is damaged, and is begun anew", was=str(aside), because=str(error))
        return Database(path, schema, synchronous="NORMAL")


def open_kept(path: Path, schema: str, what: str) -> Database:
    """Open or make a database of what exists nowhere else; `what` says what that is.

    Raises:
        ConfigError: the directory is on a network file system.
        NoSpace, OurError: it cannot be used, and what to do.
    """
    with _sentences(path):
        try:
            _check(path, schema)
        except DamagedError as error:
            raise OurError(
                f"{path} cannot be used as a database: it is damaged ({error}). It has {what}. Put a copy of it back if"
                f" there is one; else see what `sqlite3 {path} .recover` still finds, or move it away to begin anew:"
                " what it had is lost then"
            ) from None
        return Database(path, schema, synchronous="FULL")


@contextlib.contextmanager
def _sentences(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        if primary_code(error) == sqlite3.SQLITE_FULL or free_bytes(path.parent) < _LEAST_FREE:
            raise no_room(path.parent) from None
        raise OurError(f"{path} cannot be used as a database: {error}") from error
    except OSError as error:
        if error.errno in NO_ROOM:
            raise no_room(path.parent) from None
        raise OurError(f"{path} cannot be used: {error.strerror}") from error


def no_room(place: Path) -> NoSpace:
    """Return the error of a file system that is full when the daemon starts."""
    return NoSpace(f"the disk of {place} is full; free some of it, or choose another state directory with --state")


def _check(path: Path, schema: str) -> None:
    """Look at a database, without changing it, as far as that takes no long time.

    Raises:
        DamagedError: it is none, or not a whole one.
        sqlite3.Error, OSError: it cannot be used for another reason.
    """
    refuse_network_filesystem(path.parent)
    try:
        status = path.stat()
    except FileNotFoundError:
        return
    if not stat.S_ISREG(status.st_mode):
        raise DamagedError("it is no regular file")
    try:
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
            if status.st_size <= CHECKED_WHOLE:
                said = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
                if said != "ok":
                    raise DamagedError(" ".join(said.split())[:200])
            _check_columns(connection, schema)
    except sqlite3.DatabaseError as error:
        if is_damage(error) or error.sqlite_errorcode == sqlite3.SQLITE_ERROR:  # the schema cannot be read
            raise DamagedError(str(error)) from None
        raise


def _check_columns(connection: sqlite3.Connection, schema: str) -> None:
    with contextlib.closing(sqlite3.connect(":memory:")) as wanted:
        wanted.executescript(schema)
        tables = _columns(wanted)
    there = _columns(connection)
    for table, columns in tables.items():
        if table in there and not columns <= there[table]:
            raise DamagedError(f"its table {table} is another one")


def _columns(connection: sqlite3.Connection) -> dict[str, set[str]]:
    rows = connection.execute(
        "SELECT tables.name, columns.name FROM sqlite_schema AS tables, pragma_table_info(tables.name) AS columns"
    )
    found: dict[str, set[str]] = {}
    for table, column in rows:
        found.setdefault(table, set()).add(column)
    return found


def _set_aside(path: Path) -> Path:
    aside = path.with_name(path.name + SET_ASIDE)
    # The log goes along: whoever looks into the database needs it, and a new one must not find it.
    for end in ("", "-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            _replace(path.with_name(path.name + end), aside.with_name(aside.name + end))
    return aside


def _replace(path: Path, aside: Path) -> None:
    try:
        path.replace(aside)
    except OSError:  # a directory has the name, or is what is moved
        path.replace(aside.with_name(f"{aside.name}.{path.lstat().st_ino}"))
