"""`wavelet completion`: a script for the shell, which then completes commands, options and files."""

from __future__ import annotations

import argparse
import sys

from wavelet.cli.on_demand import shtab
from wavelet.cli.parser import whole_parser

FILES, DIRECTORIES = {"FILE", "PATH"}, {"DIR"}
"""What stands for a file's name in the arguments, and for a directory's."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("shell", choices=("bash", "zsh"), help='e.g. eval "$(wavelet completion bash)" in ~/.bashrc')


def run(options: argparse.Namespace) -> int:
    """Print the script."""
    parser = whole_parser()
    _mark(parser, shtab.FILE, shtab.DIRECTORY)
    sys.stdout.write(shtab.complete(parser, shell=options.shell) + "\n")
    return 0


def _mark(parser: argparse.ArgumentParser, file: object, directory: object) -> None:
    """Say of all arguments that name files or directories that they do, in shtab's way: a member of the action."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for child in action.choices.values():
                _mark(child, file, directory)
        elif action.metavar in FILES | DIRECTORIES:
            vars(action)["complete"] = file if action.metavar in FILES else directory
