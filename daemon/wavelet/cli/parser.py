"""The parser of arguments: that of the command that is called, or of all, for completion and documentation.

A command is a module, imported when it is called and not before: what `wavelet ensure` imports counts for every task.
"""

from __future__ import annotations

import argparse
import importlib
from typing import Protocol

from wavelet import __version__
from wavelet.cli.on_demand import difflib

DESCRIPTION = "The node agent of Wave: container images on demand, served by the compute node itself."

EPILOG = (
    "Exit codes: 0 done; 1 failed, by the daemon or what it asks; 2 wrong arguments or settings; 3 no daemon answers; "
    "4 the request is refused as it stands; 70 a defect; 130 interrupted. `wavelet COMMAND --help` says more."
)

COMMANDS = {
    "serve": ("serve", "run the daemon"),
    "demo": ("demo", "run the daemon and show its main job"),
    "resolve": ("resolve", "name a container that is made of what the options say"),
    "requests": ("requests", "list what was asked of the daemon, by whom, and how far it is"),
    "show": ("show", "show a container request, its state and its log"),
    "inspect": ("inspect", "show an image's documents"),
    "pull": ("pull", "take images into the store, on into an engine of this node, or into files"),
    "prefetch": ("pull", "the same as pull"),
    "mirror": ("mirror", "copy images to another registry as they are"),
    "arch-report": ("arch_report", "say which processes of a pipeline cannot run on arm64"),
    "rules": ("rules", "list, explain and check the site's rules"),
    "pack": ("pack", "list, check and build packs: what containers can have added by name"),
    "conda": ("conda", "solve for packages, write lock files, make images"),
    "cache": ("cache", "list, pin and remove what the store has"),
    "token": ("token", "describe or forget the token of a container request"),
    "login": ("login", "hand a registry login to the daemon, for a while"),
    "logout": ("logout", "take a registry login back"),
    "status": ("status", "say what the daemon is and does"),
    "run": ("run", "run a command with this user's own daemon beside it"),
    "ensure": ("ensure", "start this user's own daemon on this node, unless it runs"),
    "stop": ("stop", "end this user's own daemon on this node"),
    "doctor": ("doctor", "say what is wrong on this machine, and the command that mends it"),
    "uninstall": ("uninstall", "show or remove what wavelet has written on this machine"),
    "config": ("config", "show the settings, check them, or print Nextflow's for a kind of site"),
    "setup": ("setup", "let an engine of this machine ask the daemon first for the images of registries"),
    "install-service": ("install_service", "let systemd run the daemon, with what its settings need"),
    "settings": ("settings", "print the reference of all settings, as Markdown"),
    "completion": ("completion", "print a script that completes commands in a shell"),
    "version": ("version", "print the version"),
}
"""The commands: the module in `cli.commands` that is a `Command`, and what it does."""


class Command(Protocol):
    """What a module of `cli.commands` has."""

    def add_arguments(self, parser: argparse.ArgumentParser, /) -> None:
        """Declare the command's arguments."""

    def run(self, options: argparse.Namespace, /) -> int:
        """Do what is asked, and return the exit code."""


class Parser(argparse.ArgumentParser):
    """Arguments, with the near word where a command, or a value of an option, is mistyped.

    From Python 3.14 on argparse does that itself (`suggest_on_error`), in other words.
    """

    def _check_value(self, action: argparse.Action, value: object) -> None:
        choices = [str(choice) for choice in action.choices or ()]
        if choices and str(value) not in choices:
            near = "".join(f"; did you mean {word}?" for word in difflib.get_close_matches(str(value), choices, 1))
            raise argparse.ArgumentError(action, f"{str(value)!r} is none of {', '.join(choices)}{near}")


def parse(arguments: list[str]) -> argparse.Namespace:
    """Return what the arguments say, with the `run` of their command. Ends the process for wrong ones and `--help`."""
    name = next(iter(arguments), "")
    if name not in COMMANDS:
        return _overview().parse_args(arguments or ["--help"])
    module, summary = COMMANDS[name]
    command = _command(module)
    parser = Parser(prog=f"wavelet {name}", description=summary)
    command.add_arguments(parser)
    parser.set_defaults(run=command.run)
    return parser.parse_args(arguments[1:])


def whole_parser() -> argparse.ArgumentParser:
    """Return the parser of `wavelet` with all commands. It imports every command's module."""
    parser = Parser(prog="wavelet", description=DESCRIPTION)
    parser.add_argument("--version", action="version", version=f"wavelet {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", dest="command")
    for name, (module, summary) in COMMANDS.items():
        _command(module).add_arguments(commands.add_parser(name, help=summary, description=summary))
    return parser


def _command(module: str) -> Command:
    found: Command = importlib.import_module(f"wavelet.cli.commands.{module}")
    return found


def _overview() -> argparse.ArgumentParser:
    """Return what answers where no command is named: `--help`, `--version`, and errors."""
    parser = Parser(prog="wavelet", description=DESCRIPTION, epilog=EPILOG)
    parser.add_argument("--version", action="version", version=f"wavelet {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, (_, summary) in COMMANDS.items():
        commands.add_parser(name, help=summary)
    return parser
