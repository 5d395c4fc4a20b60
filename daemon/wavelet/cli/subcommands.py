"""Commands below a command, as `ls` below `cache`: the same sentence in the list above them and in their own help."""

from __future__ import annotations

import argparse


def add_command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, summary: str
) -> argparse.ArgumentParser:
    """Add a command to what `ArgumentParser.add_subparsers` returns, and return its parser."""
    return commands.add_parser(name, help=summary, description=summary)
