"""`wavelet ensure`: this user's own daemon runs on this node when the command ends, whoever has started it.

For the first lines of a task or a job, by the hundred at once; where it runs already, nothing but the standard library
is imported.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys

from wavelet import __version__
from wavelet.cli.argument_types import port
from wavelet.cli.on_demand import batch_system, exports, start
from wavelet.cli.user_daemon.daemon import RUN_MARK, DaemonLocation, daemon_status, location_of
from wavelet.daemon_status import DaemonStatus
from wavelet.errors import NotStarted


def add_location_options(parser: argparse.ArgumentParser) -> None:
    """Declare what says where the daemon is and how it is started."""
    parser.add_argument("--port", type=port, metavar="PORT", help="its port (from the uid; the same on all nodes)")
    parser.add_argument("--directory", metavar="DIR", help="its directory on a local disk (/tmp/wavelet-UID)")
    parser.add_argument("--config", metavar="FILE", default="", help="settings of the daemon that is started")
    parser.add_argument(
        "--shared-records", metavar="DIR", default="", help="directory that all nodes see, for names valid on all"
    )
    parser.add_argument(
        "--images", metavar="DIR", default="", help="directory that all nodes see, for SIF files, made or converted"
    )
    parser.add_argument(
        "--engine",
        choices=("docker", "podman", "apptainer", "singularity"),
        default="",
        help="what runs the images; SIF files for the last two (these where PATH has no other)",
    )
    parser.add_argument(
        "--idle", type=float, default=3600.0, metavar="SECONDS", help="end it when unused for so long (3600; 0: never)"
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="say what was found and done, on standard error")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add_location_options(parser)
    printed = parser.add_mutually_exclusive_group()
    printed.add_argument("--export", choices=("sh",), help="print the variables for `eval` instead of the endpoint")
    printed.add_argument("-q", "--quiet", action="store_true", help="print nothing")


def run(options: argparse.Namespace) -> int:
    """Print the endpoint of the daemon, or the lines that export it.

    Raises:
        NotStarted: there is none, and why.
    """
    location = location_of(os.environ, options.directory, options.port)
    ensured_daemon(location, options, manager=True)
    with contextlib.suppress(OSError):
        os.unlink(location.inside(RUN_MARK))  # noqa: PTH108 - from now on others than `wavelet run` count on it
    if options.export:
        sys.stdout.write(exports.as_shell(variables_for(location, options)))
    elif not options.quiet:
        sys.stdout.write(f"{location.endpoint}\n")
    return 0


def variables_for(location: DaemonLocation, options: argparse.Namespace) -> dict[str, str]:
    """Return the variables that what runs beside the daemon needs."""
    engine = exports.engine_of(options.engine, os.environ)
    if options.verbose and engine in exports.SIF_ENGINES:
        _say(f"images are answered as SIF files, for {engine}")
    return exports.exported_variables(location, options.images, os.environ, engine)


def ensured_daemon(
    location: DaemonLocation, options: argparse.Namespace, *, manager: bool
) -> tuple[DaemonStatus, bool]:
    """Return the state of the daemon, and whether it was started for this.

    Raises:
        NotStarted: there is none, or it keeps its records elsewhere than is asked for.
    """
    status = daemon_status(location)
    started = False
    if status is None:
        wanted = start.StartOptions(options.shared_records, options.images, options.config, options.idle, manager)
        status, started, how = start.ensure(location, wanted)
        if started and options.verbose:
            _say(f"process {status['pid']} was started {how}; its directory is {location.directory}")
            _say(_lifetime(how))
    if options.verbose and not started:
        _say(f"process {status['pid']} (wavelet {status['version']}) runs already")
    _check_records(status, options.shared_records)
    if status["version"] != __version__ and not getattr(options, "quiet", False):
        _say(
            f"the daemon that runs (process {status['pid']}) is wavelet {status['version']}, and this is "
            f"{__version__}; `wavelet stop && wavelet ensure` replaces it"
        )
    return status, started


def _check_records(status: DaemonStatus, wanted: str) -> None:
    has = status.get("records", "")
    if wanted and os.path.realpath(wanted) != os.path.realpath(has or "."):
        raise NotStarted(
            f"the daemon that runs (process {status['pid']}) keeps its records in {has or 'its own directory'}, not in "
            f"{wanted}, so that other nodes would not know its names; end it (wavelet stop) and try again"
        )


def _lifetime(how: str) -> str:
    job = batch_system.batch_job(os.environ)
    if job and "manager" not in how:
        return f"it ends with {job}, which tracks what it starts; see docs/hpc.md for daemons that outlive jobs"
    return "it ends when nobody uses it (--idle)"


def _say(line: str) -> None:
    print(f"wavelet: {line}", file=sys.stderr)
