"""`wavelet logout`: take back logins that were handed to the daemon."""

from __future__ import annotations

import argparse

from wavelet.cli import daemon_call
from wavelet.cli.output import emit, plain
from wavelet.client import Client
from wavelet.errors import InvalidRequest


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("registry", metavar="REGISTRY", nargs="?", default="", help="as in `wavelet login`")
    parser.add_argument("--all", action="store_true", help="all of your logins")
    daemon_call.add_options(parser)


def run(options: argparse.Namespace) -> int:
    """Take them back; 1 if there was none.

    Raises:
        InvalidRequest: the arguments do not say which.
    """
    if bool(options.registry) == options.all:
        raise InvalidRequest("say which login to take back: REGISTRY, or --all")

    def act(client: Client) -> int:
        gone = client.logout(options.registry)
        emit(plain(gone), options.output, [f"logins taken back: {gone.count}"])
        return daemon_call.DONE if gone.count or options.all else daemon_call.FAILED

    return daemon_call.call(options, act, {"registry": "REGISTRY"})
