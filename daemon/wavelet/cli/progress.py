"""Progress on standard error: bars where a person looks, lines that say the same where nobody does.

Bars are rich's, which follows NO_COLOR. Standard output is for results alone.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from wavelet.cli.on_demand import progress_bars
from wavelet.cli.output import visible
from wavelet.quantities import size

LINE_EVERY = 5.0
"""Seconds between two lines about the same thing, where there are no bars."""


class Progress(Protocol):
    """What shows how far things are."""

    def say(self, text: str) -> None:
        """Print a line that stays."""

    def update(self, what: str, done: int, total: int, *, in_bytes: bool) -> None:
        """Show how far something is; a total of 0 is not known yet."""

    def end(self, what: str) -> None:
        """Show something no longer."""


@contextmanager
def progress() -> Iterator[Progress]:
    """Return bars on a terminal, and lines elsewhere."""
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        yield Lines()
        return
    with progress_bars.bars() as shown:
        yield shown


class Lines:
    """Lines, few of them."""

    def __init__(self) -> None:
        self._said: dict[str, float] = {}

    def say(self, text: str) -> None:
        """Print it."""
        sys.stderr.write(f"{visible(text)}\n")
        sys.stderr.flush()

    def update(self, what: str, done: int, total: int, *, in_bytes: bool) -> None:
        """Print it, unless that was done a moment ago."""
        how_far = progress_of(done, total, in_bytes=in_bytes)
        now = time.monotonic()
        if not how_far or now - self._said.setdefault(what, now) < LINE_EVERY:
            return
        self._said[what] = now
        self.say(f"{what}: {how_far}")

    def end(self, what: str) -> None:
        """Forget it."""
        self._said.pop(what, None)


def progress_of(done: int, total: int, *, in_bytes: bool) -> str:
    """Return how much is done, of how much; nothing where neither is known yet."""
    show = size if in_bytes else str
    if total:
        return f"{show(done)} of {show(total)}"
    return show(done) if done else ""
