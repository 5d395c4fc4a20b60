"""The directory of the rules as a service: read at the start and at each change, and the last good rules kept.

Rules are in force together or not at all: of a file that cannot be used nobody knows what it would have refused.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import structlog

from wavelet.config import Apply, Settings
from wavelet.host.watch import Watcher
from wavelet.rules.files import directory_of, files_of, read_site
from wavelet.rules.members import RulesBroken
from wavelet.rules.metrics import IN_FORCE, PROBLEMS
from wavelet.rules.model import Rule, RuleSet

READ_LIMIT = 60.0
"""Seconds that reading may take: files, and the users and groups that they name, can be on a network."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Reading:
    """What was found; of two the one with the higher number was begun later."""

    number: int
    directory: Path
    rules: tuple[Rule, ...] = ()
    problems: tuple[str, ...] = ()


class RulesDirectory:
    """The rules of the site, as its directory has them.

    Attributes:
        current: those in force.
    """

    def __init__(self, settings: Settings) -> None:
        self.current = RuleSet(is_closed=True)
        self._numbers = itertools.count(1)
        self._taken = 0
        self._watcher: Watcher | None = None
        self.configure(settings)()

    def configure(self, settings: Settings) -> Apply:
        """See `Configurable`: where the rules are. They are read, also from where they were before.

        Never raises: what is wrong with them is a problem of the rules, and the settings are in force without them.
        """
        reading = self._read(settings)

        def apply() -> None:
            self._settings = settings
            self._take(reading)
            if self._watcher is not None:
                self._watcher.look_again()

        return apply

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Read the rules again whenever their files change, until the end of the context."""
        task = asyncio.create_task(self._watch())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _watch(self) -> None:
        self._watcher = Watcher(self._files)
        try:
            await self._watcher.start()
            while True:
                # At once for the first time: something may have changed since it was read at the start.
                await self._read_again()
                await self._watcher.changed()
        except OSError as error:  # or looking at the files takes too long
            log.warning("changes of rules are not seen any more; send SIGHUP after one", because=repr(error))
        finally:
            watcher, self._watcher = self._watcher, None
            await watcher.close()

    async def _read_again(self) -> None:
        try:
            async with asyncio.timeout(READ_LIMIT):
                self._take(await asyncio.to_thread(self._read, self._settings))
        except TimeoutError:
            log.warning(f"the site's rules could not be read in {READ_LIMIT:.0f} seconds; send SIGHUP to try again")

    def _files(self) -> list[Path]:
        directory = directory_of(self._settings)
        try:
            return [directory, *files_of(directory)]
        except OSError:
            return [directory]

    def _read(self, settings: Settings) -> _Reading:
        number, directory = next(self._numbers), directory_of(settings)
        try:
            return _Reading(number, directory, read_site(settings))
        except RulesBroken as error:
            return _Reading(number, directory, problems=error.problems)

    def _take(self, reading: _Reading) -> None:
        """Put into force what was read, unless something newer is."""
        if reading.number < self._taken:
            return
        self._taken, before = reading.number, self.current
        if reading.problems:
            directory = str(reading.directory) if before.is_closed else before.directory
            self.current = replace(before, problems=reading.problems, directory=directory)
        else:
            self.current = RuleSet(reading.rules, str(reading.directory), time.time())
        IN_FORCE.set(len(self.current.rules))
        PROBLEMS.set(len(self.current.problems))
        _tell(before, self.current)


def _tell(before: RuleSet, now: RuleSet) -> None:
    """Write down what has changed, if something has."""
    if now.problems:
        if now.problems != before.problems:
            left = "everything is refused" if now.is_closed else "the last good ones stay"
            log.error(f"the site's rules cannot be used, and {left}", because=list(now.problems))
    elif (before.rules, before.problems) != (now.rules, now.problems):
        log.info("the site's rules were read", rules=len(now.rules), directory=now.directory)
