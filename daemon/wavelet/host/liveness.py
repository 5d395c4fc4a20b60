"""The watchdog: whether the daemon does its work, looked at as often as the service manager wants to hear of it.

That the loop turns is shown by this being run at all. A daemon that fails here is not told alive, and the manager ends
and starts it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import structlog

from wavelet.errors import NoSpace
from wavelet.host.service import Service
from wavelet.store.database import Database

log = structlog.get_logger()

SCHEMA = "CREATE TABLE IF NOT EXISTS alive (one INTEGER PRIMARY KEY CHECK (one = 1), at REAL NOT NULL) STRICT;\n"

BEATS = 3
"""How often it is looked within the time after which the manager acts: one look may fail."""

Probe = Callable[[], Awaitable[None]]
"""Ends if something works, and raises an exception if it does not."""


async def keep_alive(service: Service, *probes: Probe) -> None:
    """Tell the manager that the daemon is alive, for as long as all probes say so. Ends only by being cancelled."""
    interval = service.watchdog / BEATS
    while True:
        try:
            async with asyncio.timeout(interval):
                for probe in probes:
                    await probe()
        except Exception as error:  # noqa: BLE001 - whatever it is, the manager has to hear nothing then
            log.error("the daemon does not work as it should", because=repr(error))  # noqa: TRY400
        else:
            service.notifier.alive()
        await asyncio.sleep(interval)


def database_writes(database: Database) -> Probe:
    """Return the probe of a database: it commits something. A full disk is no fault that a new start would mend."""

    async def probe() -> None:
        try:
            await database.write([("REPLACE INTO alive VALUES (1, ?)", (time.time(),))])
        except NoSpace:
            log.warning("the disk of the state directory is full")

    return probe


def listener_answers(host: str, port: int) -> Probe:
    """Return the probe of a listener for HTTP: it answers `GET /healthz`, over the network as everybody asks."""
    local = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - it is listened on already

    async def probe() -> None:
        reader, writer = await asyncio.open_connection(local, port)
        try:
            writer.write(b"GET /healthz HTTP/1.0\r\n\r\n")
            answer = await reader.readline()
        finally:
            writer.close()
        if answer.split(b" ")[1:2] != [b"200"]:
            raise ConnectionError(f"the listener answers {answer!r}")

    return probe
