"""Fixtures for all tests: a state directory, a free port, a running daemon; and the groups of tests (see groups.py)."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import structlog

from groups import Groups
from lab import ports
from lab.daemon import Daemon, logs_of_running
from quick import Quick

LONG = ("package", "clone", "nextflow")
"""Groups of tests that take a minute each."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare `--quick`."""
    parser.addoption("--quick", action="store_true", help="only tests that start no process and need no part")


def pytest_configure(config: pytest.Config) -> None:
    """Register the plugins that know the groups and the quick tier."""
    config.pluginmanager.register(Groups(), "wavelet-groups")
    config.pluginmanager.register(Quick(), "wavelet-quick")
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # `make test &` in a script: what is ignored is inherited, what is handled is not, and tests interrupt commands.
        signal.signal(signal.SIGINT, lambda *_: None)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int | None:
    """Run two processes for each CPU, for tests wait as long as they compute, and no more than four.

    xdist's own variable goes before that.
    """
    return None if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ else min(4, 2 * (os.cpu_count() or 1))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the tests that take longest begin first, so that no process is left with them at the end."""
    items.sort(key=lambda item: not _is_long(item))


def _is_long(item: pytest.Item) -> bool:
    return any(item.get_closest_marker(name) is not None for name in LONG)


@pytest.fixture(autouse=True)
def log_as_it_was() -> Iterator[None]:
    """Leave the form of the log as it was: commands that are called in this process set it."""
    configured, before = structlog.is_configured(), structlog.get_config()
    yield
    if structlog.get_config() != before:
        structlog.configure(**before) if configured else structlog.reset_defaults()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Show the logs of running daemons with a failed test."""
    report = yield
    if report.failed:
        report.sections += logs_of_running()
    return report


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    """Return a state directory that does not exist yet."""
    return tmp_path / "state"


@pytest.fixture(scope="session")
def common_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory that all processes of this run of the tests have in common."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture
def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that nobody listens on."""
    return ports.free_port()


@pytest.fixture
def start_daemon(state_dir: Path) -> Iterator[Callable[..., Daemon]]:
    """Return a function that starts `wavelet serve` with the settings given (see Daemon), stopped after the test."""
    with ExitStack() as stack:

        def start(state: Path = state_dir, **settings: object) -> Daemon:
            daemon = Daemon(state, **settings)  # type: ignore[arg-type]
            stack.callback(daemon.stop)
            return daemon.start()

        yield start


@pytest.fixture
def daemon(start_daemon: Callable[..., Daemon]) -> Daemon:
    """Return a running daemon with the default settings and a state directory of its own."""
    return start_daemon()
