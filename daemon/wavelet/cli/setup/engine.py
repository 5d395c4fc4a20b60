"""What every engine's module has: the one interface between `wavelet setup` and an engine's configuration."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from typing import Protocol

from wavelet.cli.setup.plan import Asked, Plan
from wavelet.cli.setup.verify import Pull


class Engine(Protocol):
    """An engine that can be set up. Planning reads files and writes none."""

    SUMMARY: str
    OF_NODE: bool
    """Whether it is the node's own where neither --user nor --system is said."""

    def add_arguments(self, parser: argparse.ArgumentParser, /) -> None:
        """Declare arguments that no other engine has."""

    def plan(self, asked: Asked, /) -> Plan:
        """Plan the engine's files.

        Raises:
            InvalidRequest: what is asked for cannot be had with this engine.
            NotStarted: a file is there that cannot be read, or is not understood.
        """

    def undo(self, asked: Asked, /) -> Plan:
        """Plan that all is as it was before, whatever was asked for then.

        Raises:
            NotStarted: as `plan` has it.
        """

    def apply(self, asked: Asked, plan: Plan, /) -> Iterable[str]:
        """Have a running engine read its files, where it does not do so by itself; yield what there is to say."""

    def pulls(self, asked: Asked, plan: Plan, /) -> Sequence[Pull]:
        """Return how it can be verified: the ways to pull the built-in image, the best first."""
