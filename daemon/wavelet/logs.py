"""The form of the log: lines for people on a terminal, JSON for machines, always on standard error."""

from __future__ import annotations

import contextlib
import logging
import sys
import time
from typing import Literal, TextIO, cast

import structlog

from wavelet.config import Apply, Settings


class _Forgiving:
    """A stream whose failures are nobody's: a log on a full disk or a closed pipe must not stop the work."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stream.flush()


def setup_logging(form: Literal["text", "json"], level: Literal["debug", "info", "warning", "error"]) -> None:
    """Set the form of every log line of this process."""
    renderer: structlog.typing.Processor = structlog.processors.JSONRenderer()
    if form == "text":
        renderer = structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
        logger_factory=structlog.PrintLoggerFactory(cast(TextIO, _Forgiving(sys.stderr))),
    )
    # Libraries log through the standard library; of these only what is wrong is of interest.
    logging.basicConfig(
        level=logging.WARNING, stream=sys.stderr, format="%(asctime)s [%(levelname)s] %(name)s: %(message)s"
    )


class LogSettings:
    """The form and the least level of the log, which other settings change while the daemon runs."""

    def __init__(self, settings: Settings) -> None:
        """Take the log as one that `setup_logging` has set by these settings."""
        self._in_force = settings.log_format, settings.log_level

    def configure(self, settings: Settings) -> Apply:
        """See `Configurable`."""
        new = settings.log_format, settings.log_level

        def apply() -> None:
            if new != self._in_force:
                setup_logging(*new)
                self._in_force = new

        return apply


INTERVAL = 60.0
"""Seconds in which a line of `Rarely` is written once."""


class Rarely:
    """A line of the log for what may happen a thousand times a second: once a minute, with how often it has happened.

    Args:
        event: the line.
        about: what it is always about.
    """

    def __init__(self, event: str, **about: object) -> None:
        self._event = event
        self._about = about
        self._count = 0
        self._next = 0.0

    def info(self, **about: object) -> None:
        """Write it as an information, if it is time."""
        self._write("info", about)

    def warning(self, **about: object) -> None:
        """Write it as a warning, if it is time."""
        self._write("warning", about)

    def _write(self, level: Literal["info", "warning"], about: dict[str, object]) -> None:
        self._count += 1
        now = time.monotonic()
        if now < self._next:
            return
        getattr(structlog.get_logger(), level)(self._event, **self._about, **about, count=self._count)
        self._count, self._next = 0, now + INTERVAL
