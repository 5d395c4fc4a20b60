"""The scrub: every blob is read now and then, slowly, and compared with its digest, lest damage be found too late."""

from __future__ import annotations

import asyncio

import structlog

from wavelet.config import Apply, Settings
from wavelet.store.database import Database
from wavelet.store.integrity import Integrity

log = structlog.get_logger()

SCHEMA = "CREATE TABLE IF NOT EXISTS unstopped (one INTEGER PRIMARY KEY CHECK (one = 1)) STRICT;\n"

LOOK_EVERY = 10.0
"""Seconds between two looks for blobs that are due."""


class Scrub:
    """The scrub of one store.

    After a stop that was none, of the machine or of the process, nothing is relied upon that was seen before.
    """

    def __init__(self, integrity: Integrity, database: Database, settings: Settings) -> None:
        self._integrity = integrity
        self._database = database
        self._crashed = bool(database.read("SELECT 1 FROM unstopped"))
        database.write_later("INSERT OR IGNORE INTO unstopped VALUES (1)")
        self.configure(settings)()

    def configure(self, settings: Settings) -> Apply:
        """See `Configurable`: within how many seconds each blob is read once; 0 for never."""

        def apply() -> None:
            self._interval = settings.store.scrub

        return apply

    async def run(self) -> None:
        """Scrub, until this is cancelled."""
        if self._crashed:
            log.info("the last stop was none: all content is compared with its digest, at leisure")
        await self._integrity.doubt(everything=self._crashed)
        while True:
            if self._interval:
                await self._scrub_due()
            await asyncio.sleep(LOOK_EVERY)

    async def _scrub_due(self) -> None:
        due = iter(self._integrity.due(self._interval))
        while (digest := self._integrity.take_handed_out() or next(due, None)) is not None:
            try:
                await self._integrity.scrub(digest)
            except OSError as error:
                log.warning("content cannot be read now", digest=digest, because=error.strerror)

    def stopped(self) -> None:
        """Note that the daemon stops in good order."""
        self._database.write_later("DELETE FROM unstopped")
