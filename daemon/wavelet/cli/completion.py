"""`wavelet completion`: a script for the shell, which then completes commands, options and files."""

from __future__ import annotations

import argparse
import sys

from wavelet.cli.parsers import whole_parser


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("shell", choices=("bash", "zsh"), help='e.g. eval "$(wavelet completion bash)" in ~/.bashrc')


def run(options: argparse.Namespace) -> int:
    """Print the script."""
    import shtab  # noqa: PLC0415 - the parser of this command is built for documentation too

    sys.stdout.write(shtab.complete(whole_parser(), shell=options.shell) + "\n")
    return 0
