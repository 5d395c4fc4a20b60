"""Entry point of the `wavelet` command: arguments in, exit code out.

Exit codes: 0 done, 1 failed, 2 wrong arguments or settings (as argparse has it), 70 a defect.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import traceback
from pathlib import Path
from typing import Any

from wavelet import __version__
from wavelet.config import ConfigError, Settings, load
from wavelet.errors import WaveletError

EXIT_DEFECT = 70
"""sysexits.h: EX_SOFTWARE."""


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except ConfigError as error:
        print(f"wavelet: {error.message}", file=sys.stderr)  # noqa: T201
        return 2
    except WaveletError as error:
        print(f"wavelet: {error.message}", file=sys.stderr)  # noqa: T201
        return 1
    except KeyboardInterrupt:
        return 130
    except Exception as error:  # noqa: BLE001 - the last resort: one sentence, and the details where they were asked for
        if os.environ.get("WAVELET_LOG_LEVEL") == "debug":
            traceback.print_exc()
        print(f"wavelet: a defect: {error!r}; WAVELET_LOG_LEVEL=debug shows where", file=sys.stderr)  # noqa: T201
        return EXIT_DEFECT


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="wavelet",
        description="The node agent of Wave: container images on demand, served by the compute node itself.",
    )
    parser.add_argument("--version", action="version", version=f"wavelet {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    serve = commands.add_parser("serve", help="run the daemon", description="Run the daemon until SIGTERM or Ctrl-C.")
    _add_daemon_options(serve)
    serve.set_defaults(run=_serve)
    demo = commands.add_parser(
        "demo",
        help="run the daemon and show its main job",
        description="Run the daemon and show its main job on an embedded registry, then go on serving until Ctrl-C.",
    )
    _add_daemon_options(demo)
    demo.add_argument("--once", action="store_true", help="end after the show")
    demo.set_defaults(run=_demo)
    settings = commands.add_parser("settings", help="print the reference of all settings, as Markdown")
    settings.set_defaults(run=_settings)
    return parser


def _add_daemon_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--listen", metavar="HOST:PORT", help="address of the HTTP API and registry (127.0.0.1:9090)")
    parser.add_argument("--state", metavar="DIR", help="directory for content and records, on a local disk")
    parser.add_argument("--config", metavar="FILE", type=Path, help="YAML file of settings; each is also WAVELET_<KEY>")


def settings_of(options: argparse.Namespace) -> Settings:
    """Return the settings that the command line, the environment and the file give, in this order of precedence."""
    overrides: dict[str, Any] = {}
    for key in ("listen", "state"):
        if getattr(options, key) is not None:
            overrides[key] = getattr(options, key)
    return load(options.config or _default_file(), os.environ, overrides)


def _default_file() -> Path | None:
    if os.environ.get("WAVELET_CONFIG"):
        return Path(os.environ["WAVELET_CONFIG"])
    user = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "wavelet" / "config.yaml"
    for path in (user, Path("/etc/wavelet/config.yaml")):
        if path.is_file():
            return path
    return None


def _serve(options: argparse.Namespace) -> int:
    from wavelet.app import serve  # noqa: PLC0415 - the daemon's libraries are loaded by what needs them only
    from wavelet.cli.logs import configure  # noqa: PLC0415

    settings = settings_of(options)
    configure(settings.log_format, settings.log_level)
    asyncio.run(serve(settings))
    return 0


def _demo(options: argparse.Namespace) -> int:
    from wavelet.cli.demo import demo  # noqa: PLC0415
    from wavelet.cli.logs import configure  # noqa: PLC0415

    settings = settings_of(options)
    configure(settings.log_format, "warning")
    asyncio.run(demo(settings, once=options.once))
    return 0


def _settings(_: argparse.Namespace) -> int:
    from wavelet.cli.reference import reference  # noqa: PLC0415

    print(reference(), end="")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
