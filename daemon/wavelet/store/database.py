"""The SQLite of a node: point reads in the event loop, all writes through one thread with group commit.

A point read takes microseconds, less than a hop to a thread; a commit waits for the disk, so writers that wait at the
same time share one.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import sqlite3
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import structlog

from wavelet.errors import NoSpace, OurError, fresh_copy
from wavelet.store.filesystem import refuse_network_filesystem

log = structlog.get_logger()

Statement = tuple[str, Sequence[object]]

BUSY_TIMEOUT = 10.0
"""Seconds to wait for another process's lock: backup and inspection tools may hold one."""

_GROUP_LIMIT = 512
"""Most waiting writes that share one commit."""


@dataclass
class _Write:
    statements: Sequence[Statement]
    done: asyncio.Future[int] | None = None
    changed: int = field(default=0)


class Database:
    """One database file, used by one daemon.

    `write` returns when the statements are committed, durable to the degree of `synchronous` (SQLite's words: FULL
    survives power loss, NORMAL a crash of the process). `write_later` returns at once.

    Attributes:
        path: the file.
    """

    def __init__(self, path: Path, schema: str, *, synchronous: Literal["FULL", "NORMAL"]) -> None:
        """Open or make the file.

        Raises:
            ConfigError: the directory is on a network file system.
        """
        refuse_network_filesystem(path.parent)
        self.path = path
        self._synchronous = synchronous
        # Readable by its owner alone: it says who may read what. SQLite gives its log the mode of the database.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        self._reader = self._connect()
        self._reader.executescript(schema)
        self._queue: queue.SimpleQueue[_Write | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write_all, name=f"write {path.name}", daemon=True)
        self._thread.start()

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=BUSY_TIMEOUT, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {self._synchronous}")
        return connection

    def read(self, sql: str, *arguments: object) -> list[tuple[Any, ...]]:
        """Return the rows of a small query. Called in the loop's thread.

        Raises:
            OurError: the file is damaged.
        """
        try:
            return self._reader.execute(sql, arguments).fetchall()
        except sqlite3.DatabaseError as error:
            if is_damage(error):
                raise damaged(self.path, error) from None
            raise

    async def write(self, statements: Iterable[Statement]) -> int:
        """Commit the statements together and return how many rows they changed."""
        done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._queue.put(_Write(list(statements), done))
        # A write that was handed over is not taken back when its caller goes away.
        return await asyncio.shield(done)

    def write_later(self, sql: str, *arguments: object) -> None:
        """Commit the statement soon; an error goes to the log."""
        self._queue.put(_Write([(sql, arguments)]))

    def close(self) -> None:
        """Commit what is waiting, then close."""
        self._queue.put(None)
        self._thread.join()
        self._reader.close()

    def _write_all(self) -> None:
        with contextlib.closing(self._connect()) as connection:
            stopping = False
            while not stopping:
                group, stopping = self._take_group()
                self._commit(connection, group)

    def _take_group(self) -> tuple[list[_Write], bool]:
        group: list[_Write] = []
        item = self._queue.get()
        while item is not None:
            group.append(item)
            if len(group) == _GROUP_LIMIT:
                return group, False
            try:
                item = self._queue.get_nowait()
            except queue.Empty:
                return group, False
        return group, True

    def _commit(self, connection: sqlite3.Connection, group: list[_Write]) -> None:
        error: Exception | None = None
        try:
            connection.execute("BEGIN IMMEDIATE")
            for write in group:
                write.changed = sum(connection.execute(sql, args).rowcount for sql, args in write.statements)
            connection.execute("COMMIT")
        except Exception as failure:
            error = failure
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            if len(group) > 1 and not isinstance(failure, sqlite3.OperationalError):
                # It is the fault of one write, not of the disk or a lock: the others stand.
                for write in group:
                    self._commit(connection, [write])
                return
            if isinstance(failure, sqlite3.Error) and is_damage(failure):
                error = damaged(self.path, failure)
                log.error("a write to the database failed", database=self.path.name, because=str(failure))  # noqa: TRY400
            else:
                log.exception("a write to the database failed", database=self.path.name)
            if isinstance(failure, sqlite3.OperationalError) and failure.sqlite_errorcode == sqlite3.SQLITE_FULL:
                error = NoSpace(f"the disk of the state directory is full: {self.path.name} cannot grow")
        for write in group:
            if write.done is not None:
                _settle(write.done, write.changed, error)


def primary_code(error: sqlite3.Error) -> int:
    """Return SQLite's primary result code (https://www.sqlite.org/rescode.html); 0 for an error of the module's own."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def is_damage(error: sqlite3.Error) -> bool:
    """Tell whether a file is no database, or has pages that are not what SQLite wrote."""
    return primary_code(error) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def damaged(path: Path, error: sqlite3.Error) -> OurError:
    """Return the error of a file whose damage is seen only while it is used."""
    return OurError(f"{path} is damaged on disk ({error}); start wavelet again: it then says what can be done")


def _settle(done: asyncio.Future[int], changed: int, error: Exception | None) -> None:
    def settle() -> None:
        if done.done():
            return
        if error is None:
            done.set_result(changed)
        else:
            done.set_exception(fresh_copy(error))  # one error may end a whole group of writes

    with contextlib.suppress(RuntimeError):  # the loop has closed: nobody waits any more
        done.get_loop().call_soon_threadsafe(settle)
