"""The quick tier: tests of values, policies and doors, which start no process and need no part of the machine.

`--quick` leaves the others out: those of a group (groups.py), those that are marked `process` or start a daemon by its
fixture, and those that look at the whole. That a test which is taken for quick starts no process is held in every run.
Properties are tried with fewer examples, where their tests do not say how many.
"""

from __future__ import annotations

import contextlib
import multiprocessing.process
import sys
from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest

from groups import PARTS

OTHERS = {*PARTS, "process", "nextflow", "clone", "package"}
STARTS = {"start_daemon", "certificate"}
"""Fixtures that start processes: daemons, and openssl for whichever test asks first."""

BLACK_BOX = ("cli", "client", "documented", "end_to_end", "faults", "nextflow_config", "packaging")
"""Directories whose tests take the daemon, or what is made of it, as a whole."""

PROFILE = "quick"
hypothesis.settings.register_profile(PROFILE, max_examples=25)

_SPAWNS = {"subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn"}


def is_quick(item: pytest.Item) -> bool:
    """Tell whether a test belongs to the tier."""
    marks = {mark.name for mark in item.iter_markers()}
    if marks & OTHERS or STARTS & set(getattr(item, "fixturenames", ())):
        return False
    return item.path.relative_to(item.config.rootpath / "tests").parts[0] not in BLACK_BOX


class Quick:
    """The pytest plugin: leaves out what is not quick where that is asked for, and refuses processes to what is."""

    def __init__(self) -> None:
        self._running = ""
        self._started = ""
        sys.addaudithook(self._audit)
        self._watch_multiprocessing()

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Keep the tier, with `--quick`."""
        if not config.option.quick:
            return
        hypothesis.settings.load_profile(PROFILE)
        kept = [item for item in items if is_quick(item)]
        config.hook.pytest_deselected(items=[item for item in items if not is_quick(item)])
        items[:] = kept

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Iterator[None]:
        """Watch a test's fixtures as they are made; they end with whichever test comes last."""
        with self._watching(item):
            return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Iterator[None]:
        """Watch a test."""
        with self._watching(item):
            return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Iterator[None]:
        """Fail a test that has started a process, though it counts as quick."""
        report = yield
        if self._started:
            report.outcome = "failed"
            report.longrepr = f"{item.nodeid} starts a process ({self._started}): mark it `process`"
            self._started = ""
        return report

    @contextlib.contextmanager
    def _watching(self, item: pytest.Item) -> Iterator[None]:
        self._running = item.nodeid if is_quick(item) else ""
        try:
            yield
        finally:
            self._running = ""

    def _audit(self, event: str, arguments: tuple[object, ...]) -> None:
        if self._running and event in _SPAWNS:
            self._started = f"{event} {arguments[0] if arguments else ''}"

    def _watch_multiprocessing(self) -> None:
        """Note its processes too: it starts them below what audit hooks see."""
        start = multiprocessing.process.BaseProcess.start

        def noted(process: Any) -> None:
            if self._running:
                self._started = f"multiprocessing {process.name}"
            start(process)

        multiprocessing.process.BaseProcess.start = noted  # type: ignore[method-assign]
