"""`wavelet version`: of the command, and of what it is built on."""

from __future__ import annotations

import argparse
import platform
import sys

from wavelet import __version__


def add_arguments(_: argparse.ArgumentParser) -> None:
    """Declare the command's arguments: none."""


def run(_: argparse.Namespace) -> int:
    """Print the version."""
    sys.stdout.write(f"wavelet {__version__} (Python {platform.python_version()}, {platform.machine()})\n")
    return 0
