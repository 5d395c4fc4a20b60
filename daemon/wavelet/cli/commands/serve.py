"""`wavelet serve`: the daemon in the foreground, until SIGTERM or Ctrl-C."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from pathlib import Path
from types import ModuleType

# structlog imports rich where it finds it, for a form of tracebacks that is not used: a tenth of the time of a start.
# It does without where there is nothing in it.
sys.modules.setdefault("rich", ModuleType("rich"))

from wavelet.app import serve  # noqa: E402
from wavelet.config import Source  # noqa: E402
from wavelet.logs import setup_logging  # noqa: E402


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments, which are those of all commands that run the daemon."""
    parser.add_argument("--listen", metavar="HOST:PORT", help="address of the HTTP API and registry (127.0.0.1:9090)")
    parser.add_argument("--state", metavar="DIR", help="directory for content and records, on a local disk")
    parser.add_argument("--config", metavar="FILE", type=Path, help="YAML file of settings; each is also WAVELET_<KEY>")


def source_of(options: argparse.Namespace) -> Source:
    """Return where the settings are read: the command line, over the environment, over the files."""
    overrides: dict[str, str] = {}
    for key in ("listen", "state"):
        if getattr(options, key) is not None:
            overrides[key] = getattr(options, key)
    return Source(options.config, os.environ, overrides)


def run(options: argparse.Namespace) -> int:
    """Run the daemon.

    Raises:
        ConfigError: it cannot run with these settings, and why.
    """
    source = source_of(options)
    settings = source.read()
    setup_logging(settings.log_format, settings.log_level)
    asyncio.run(serve(settings, source))
    return 0
