"""`wavelet stop`: ends this user's own daemon on this node, as SIGTERM does: what runs may end first."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys

from wavelet.cli.argument_types import port
from wavelet.cli.user_daemon.daemon import daemon_status, location_of
from wavelet.cli.user_daemon.stop import stop_daemon
from wavelet.errors import NotStarted


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("--port", type=port, metavar="PORT", help="its port (from the uid; the same on all nodes)")
    parser.add_argument("--directory", metavar="DIR", help="its directory on a local disk (/tmp/wavelet-UID)")
    parser.add_argument("-q", "--quiet", action="store_true", help="print nothing")


def run(options: argparse.Namespace) -> int:
    """End it, and wait for that. That none runs is no failure: what was asked for is so.

    Raises:
        NotStarted: it does not end in time, or the port is somebody else's.
    """
    location = location_of(os.environ, options.directory, options.port)
    status = daemon_status(location)
    said = f"none of your daemons runs at {location.address}"
    if status is not None:
        pid = int(status["pid"])
        with contextlib.suppress(ProcessLookupError):  # it was ending already
            if not stop_daemon(location, pid):
                raise NotStarted(f"the daemon (process {pid}) has not ended yet; `kill -KILL {pid}` ends it at once")
        said = f"process {pid} (wavelet {status['version']}) has ended; `wavelet ensure` starts another"
    if not options.quiet:
        sys.stdout.write(f"{said}\n")
    return 0
