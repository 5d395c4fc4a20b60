"""Entry point of the `wavelet` command: arguments in, exit code out.

Exit codes: 0 done, 1 failed (the daemon's part, or a registry's or channel's), 2 wrong arguments or settings (as
argparse has it), 3 no daemon answers, 4 the request is refused as it stands, 70 a defect, 130 interrupted, 141 nobody
reads the output any more (the last two as shells count the end by SIGINT and SIGPIPE).

A command is a module, imported when it is called and not before: what `wavelet ensure` imports counts for every task.
"""

from __future__ import annotations

import argparse
import errno
import importlib
import os
import sys
from typing import Any

from wavelet import __version__
from wavelet.errors import CallerError, WaveletError

EXIT_ARGUMENTS = 2
EXIT_DEFECT = 70
"""sysexits.h: EX_SOFTWARE."""
EXIT_INTERRUPTED = 130
EXIT_UNREAD = 141

_UNWRITABLE = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG}
"""What writing to standard output fails with, where it is a file."""

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
    "inspect": ("inspection", "show an image's documents"),
    "pull": ("prefetch", "take images into the store, or on into an engine of this node"),
    "prefetch": ("prefetch", "the same as pull"),
    "conda": ("conda", "solve for packages, write lock files, make images"),
    "cache": ("cache", "list, pin and remove what the store has"),
    "token": ("tokens", "describe or forget the token of a container request"),
    "login": ("login", "hand a registry login to the daemon, for a while"),
    "logout": ("logout", "take a registry login back"),
    "status": ("status", "say what the daemon is and does"),
    "run": ("run", "run a command with this user's own daemon beside it"),
    "ensure": ("ensure", "start this user's own daemon on this node, unless it runs"),
    "stop": ("stop", "end this user's own daemon on this node"),
    "doctor": ("doctor", "say what is wrong on this machine, and the command that mends it"),
    "uninstall": ("uninstall", "show or remove what wavelet has written on this machine"),
    "config": ("config", "show the settings, check them, or print Nextflow's for a kind of site"),
    "install-service": ("install_service", "let systemd run the daemon, with what its settings need"),
    "settings": ("reference", "print the reference of all settings, as Markdown"),
    "completion": ("completion", "print a script that completes commands in a shell"),
    "version": ("version", "print the version"),
}
"""The commands: the module in `cli.commands` that has `add_arguments(parser)` and `run(options)`, and what they do."""


class Parser(argparse.ArgumentParser):
    """Arguments, with the near word where a command, or a value of an option, is mistyped.

    From Python 3.14 on argparse does that itself (`suggest_on_error`), in other words.
    """

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        choices = [str(choice) for choice in action.choices or ()]
        if choices and str(value) not in choices:
            import difflib  # noqa: PLC0415 - only for a mistake

            near = "".join(f"; did you mean {word}?" for word in difflib.get_close_matches(str(value), choices, 1))
            raise argparse.ArgumentError(action, f"{str(value)!r} is none of {', '.join(choices)}{near}")


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    if os.path.expanduser("~") == "~":  # noqa: PTH111 - pathlib takes time to import, and fails here
        os.environ["HOME"] = "/"  # a uid that nobody has named, in a container: as container engines set it
    _open_missing()
    try:
        options = _parse(sys.argv[1:] if arguments is None else arguments)
        return _run(options)
    except WaveletError as error:
        from wavelet.config import ConfigError  # noqa: PLC0415

        print(f"wavelet: {error.message}", file=sys.stderr)  # noqa: T201
        return EXIT_ARGUMENTS if isinstance(error, (ConfigError, CallerError)) else 1
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except (UnicodeEncodeError, OSError) as error:
        return _stream_trouble(error)
    except ModuleNotFoundError as error:
        return _missing(error)
    except Exception as error:  # noqa: BLE001 - the last resort: one sentence, and the details where they were asked for
        return _defect(error)


def _open_missing() -> None:
    """Open the standard streams that this process was started without: else the next file has their number."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: PTH123, SIM115


def _write_no_more() -> None:
    """Let what is still to be written fail no more when the process ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _stream_trouble(error: UnicodeEncodeError | OSError) -> int:
    """Return the exit code for what cannot be written, or can be no text of a message."""
    if isinstance(error, BrokenPipeError):
        _write_no_more()
        return EXIT_UNREAD
    if isinstance(error, UnicodeEncodeError) and error.reason == "surrogates not allowed":
        print("wavelet: an argument, or what was read, is not UTF-8; write it in UTF-8", file=sys.stderr)  # noqa: T201
        return EXIT_ARGUMENTS
    if isinstance(error, OSError) and error.errno in _UNWRITABLE and error.filename is None:
        _write_no_more()
        print(f"wavelet: the output cannot be written: {error.strerror}", file=sys.stderr)  # noqa: T201
        return 1
    return _defect(error)


def _missing(error: ModuleNotFoundError) -> int:
    """Say which library is not there, and how to get it; a module of wavelet itself is a defect."""
    if not error.name or error.name.partition(".")[0] == "wavelet":
        return _defect(error)
    remedy = "pip install 'wavelet[daemon]'"
    print(f"wavelet: {error.name} is not installed, which this command needs: {remedy}", file=sys.stderr)  # noqa: T201
    return EXIT_ARGUMENTS


def _defect(error: Exception) -> int:
    """Say that there is a defect, and where. The error's own words may have a secret in them."""
    if os.environ.get("WAVELET_LOG_LEVEL") == "debug":
        import traceback  # noqa: PLC0415

        traceback.print_exception(error)
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = f" in {os.path.basename(trace.tb_frame.f_code.co_filename)}:{trace.tb_lineno}" if trace else ""  # noqa: PTH119
    said = f"{type(error).__name__}{where}; WAVELET_LOG_LEVEL=debug says more"
    print(f"wavelet: a defect: {said}", file=sys.stderr)  # noqa: T201
    return EXIT_DEFECT


def _run(options: argparse.Namespace) -> int:
    code = int(options.run(options))
    sys.stdout.flush()  # while it can still be seen that nobody reads
    return code


def _parse(arguments: list[str]) -> argparse.Namespace:
    name = next(iter(arguments), "")
    if name not in COMMANDS:
        return _overview().parse_args(arguments or ["--help"])
    module, summary = COMMANDS[name]
    room = importlib.import_module(f"wavelet.cli.commands.{module}")
    parser = Parser(prog=f"wavelet {name}", description=summary)
    room.add_arguments(parser)
    parser.set_defaults(run=room.run)
    return parser.parse_args(arguments[1:])


def _overview() -> argparse.ArgumentParser:
    """Return what answers where no command is named: `--help`, `--version`, and errors."""
    parser = Parser(
        prog="wavelet",
        description=DESCRIPTION,
        epilog=EPILOG,
    )
    parser.add_argument("--version", action="version", version=f"wavelet {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, (_, summary) in COMMANDS.items():
        commands.add_parser(name, help=summary)
    return parser


if __name__ == "__main__":
    sys.exit(main())
