"""The parsers of all commands: one for the command that is called, or all of them, for completion and documentation."""

from __future__ import annotations

import argparse
import importlib

from wavelet import __version__
from wavelet.cli.main import COMMANDS, DESCRIPTION, Parser


def whole_parser() -> argparse.ArgumentParser:
    """Return the parser of `wavelet` with all commands. It imports every command's module."""
    parser = Parser(prog="wavelet", description=DESCRIPTION)
    parser.add_argument("--version", action="version", version=f"wavelet {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", dest="command")
    for name, (module, summary) in COMMANDS.items():
        room = importlib.import_module(f"wavelet.cli.commands.{module}")
        room.add_arguments(commands.add_parser(name, help=summary, description=summary))
    return parser
