"""The reload: settings are read again and put into force, all or nothing."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

import msgspec
import structlog
from prometheus_client import Counter, Gauge

from wavelet.config import Apply, ConfigError, Configurable, Settings, Source
from wavelet.config.changes import changed, is_live
from wavelet.errors import WaveletError
from wavelet.host.watch import Watcher

READ_LIMIT = 60.0
"""Seconds that reading and preparing new settings may take; files can be on a network."""

RELOADS = Counter("wavelet_config_reload_total", "Settings that were read again", ["outcome"])
LAST_SUCCESS = Gauge("wavelet_config_reload_success_timestamp_seconds", "When the settings in force were read")

log = structlog.get_logger()


class Reloader:
    """The settings of a running daemon.

    Attributes:
        settings: those in force.
        announce: called with True when a reload begins and with False when it has ended; for a service manager.
        on_event: called with the outcome, `reload` or `refused`, and what has changed or why.
    """

    def __init__(self, source: Source | None, asked: Settings, in_force: Settings) -> None:
        """`asked` is what `source` gave, and `in_force` the same with the port that the system chose.

        Without a source the settings are fixed, and files that they name are read again.
        """
        self.settings = in_force
        self.announce: Callable[[bool], None] = lambda _: None
        self.on_event: Callable[[Literal["reload", "refused"], str], None] = lambda _decision, _reason: None
        self._source = source
        self._asked = asked
        self._services: list[Configurable] = []
        self._one = asyncio.Lock()
        self._wanted = asyncio.Event()
        for outcome in ("success", "refused"):
            RELOADS.labels(outcome)
        LAST_SUCCESS.set_to_current_time()

    @property
    def file(self) -> str:
        """The file that the settings are read from; empty if there is none."""
        return str((self._source.file if self._source else None) or "")

    def add(self, *services: Configurable) -> None:
        """Give new settings to these too; for the start."""
        self._services.extend(services)

    async def reload(self) -> list[str]:
        """Read the settings and return the dotted keys that have changed, now in force.

        Raises:
            ConfigError: they cannot be used, or one needs a restart; the old ones stay, all of them.
        """
        async with self._one:
            self.announce(True)
            try:
                keys = await self._reload()
            except ConfigError as error:
                self._note_refused(error)
                raise
            finally:
                self.announce(False)
            self._note_success(keys)
            return keys

    def _note_refused(self, error: ConfigError) -> None:
        RELOADS.labels("refused").inc()
        log.error("new settings are refused, and the old ones stay", because=error.message)
        self.on_event("refused", error.message)

    def _note_success(self, keys: list[str]) -> None:
        RELOADS.labels("success").inc()
        LAST_SUCCESS.set(time.time())
        log.info("settings were read again", changed=keys)
        self.on_event("reload", ", ".join(keys))

    def request(self) -> None:
        """Have the settings read again soon: for a signal handler. What is wrong with them stands in the log."""
        self._wanted.set()

    async def _reload(self) -> list[str]:
        try:
            async with asyncio.timeout(READ_LIMIT):
                asked, prepared = await asyncio.to_thread(self._prepare)
        except TimeoutError:
            raise ConfigError(f"the settings could not be read in {READ_LIMIT:.0f} seconds") from None
        except ConfigError:
            raise
        except WaveletError as error:
            raise ConfigError(error.message, field=error.field) from None
        keys = changed(self._asked, asked)
        for apply in prepared:
            apply()
        self.settings, self._asked = self._in_force(asked), asked
        return keys

    def _prepare(self) -> tuple[Settings, list[Apply]]:
        asked = self._asked if self._source is None else self._source.read()
        if fixed := [key for key in changed(self._asked, asked) if not is_live(key)]:
            verb = "needs" if len(fixed) == 1 else "need"
            raise ConfigError(f"{', '.join(fixed)} {verb} a restart of wavelet", field=fixed[0])
        settings = self._in_force(asked)
        return asked, [service.configure(settings) for service in self._services]

    def _in_force(self, asked: Settings) -> Settings:
        return msgspec.structs.replace(asked, listen=self.settings.listen)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Follow requests and, where the settings say so, changes of files, until the end of the context."""
        follow = [self._when_wanted()]
        if self._asked.watch and self._source is not None:
            follow.append(self._when_changed(self._source))
        tasks = [asyncio.create_task(each) for each in follow]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _when_wanted(self) -> None:
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            await self._try()

    async def _when_changed(self, source: Source) -> None:
        watcher = Watcher(lambda: self._files(source))
        try:
            await watcher.start()
            # What has changed between the start of the process and that of the watcher.
            if await asyncio.to_thread(self._differs, source):
                await self._try()
            while True:
                await watcher.changed()
                await self._try()
        except OSError as error:  # or the time is over
            log.warning("changes of files are not seen any more; send SIGHUP after one", because=repr(error))
        finally:
            await watcher.close()

    def _differs(self, source: Source) -> bool:
        try:
            return source.read() != self._asked
        except ConfigError:
            return True

    async def _try(self) -> None:
        # The log has it already, and whoever has changed a file is not here to be told.
        with contextlib.suppress(ConfigError):
            await self.reload()

    def _files(self, source: Source) -> Iterable[Path]:
        yield from source.files()
        tls, grpc = self.settings.tls, self.settings.grpc.tls
        named = [tls.certificate, tls.key] if tls else []
        named += [grpc.certificate, grpc.key, grpc.client_ca] if grpc else []
        named += [registry.ca_file for registry in self.settings.upstream.registries.values()]
        yield from (Path(name) for name in named if name)
