"""`wavelet status`: what the daemon is and does, in plain HTTP, or over its socket where one is named.

In plain HTTP the standard library is all that it takes: it is asked often.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import sys
import time
from collections.abc import Iterator

from wavelet.cli.on_demand import output, socket_status, yaml
from wavelet.cli.user_daemon.daemon import HOST, location_of, request_status
from wavelet.daemon_status import DaemonStatus
from wavelet.paths import PORT, SOCKET_VARIABLE
from wavelet.quantities import size

NOBODY = 3
"""Exit code: no daemon answers."""

ANSWER_LIMIT = 5.0
"""Seconds for the answer."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "--address",
        type=_address,
        metavar="HOST:PORT",
        help="the daemon ($WAVELET_SOCKET, yours if it runs, else 127.0.0.1:9090)",
    )
    parser.add_argument("-o", "--output", choices=("text", "json", "yaml"), default="text", help="form (text)")


def run(options: argparse.Namespace) -> int:
    """Print the state of the daemon; 3 if none answers."""
    if os.environ.get(SOCKET_VARIABLE) and not options.address:
        addresses = [os.environ[SOCKET_VARIABLE]]
        state = socket_status.status_at_socket(os.environ, ANSWER_LIMIT)
    else:
        addresses = [options.address] if options.address else [location_of(os.environ).address, f"{HOST}:{PORT}"]
        state = next((found for address in addresses if (found := _state(address))), None)
    if state is None:
        where = " or ".join(addresses)
        sys.stderr.write(
            f"wavelet: no daemon answers at {where}; start one: wavelet serve, or wavelet ensure; "
            f"{SOCKET_VARIABLE} names the socket of one elsewhere\n"
        )
        return NOBODY
    if options.output == "json":
        sys.stdout.write(json.dumps(state, indent=2) + "\n")
    elif options.output == "yaml":
        sys.stdout.write(yaml.safe_dump(state, sort_keys=False))
    else:
        sys.stdout.writelines(f"{line}\n" for line in _lines(state, time.time()))
    return 0


def _address(text: str) -> str:
    host, _, port = text.rpartition(":")
    if not (host and port.isascii() and port.isdecimal() and 0 < int(port[:6]) < 65536):
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT")
    return text


def _state(address: str) -> DaemonStatus | None:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), ANSWER_LIMIT) as connection:
            return request_status(connection)
    except OSError:
        return None


def _lines(state: DaemonStatus, now: float) -> Iterator[str]:
    for_long = _span(now - state["started"])
    yield f"wavelet {state['version']}, process {state['pid']} of uid {state['uid']}, for {for_long}"
    yield f"serves   http://{state['address']}, names begin with {state['authority']}"
    yield f"state    {state['state']}"
    if state.get("records"):
        yield f"records  {state['records']}"
    yield f"store    {size(state['store']['size'])} of {size(state['store']['limit'])}"
    yield f"jobs     {state['jobs']}"
    if (rules := state.get("rules")) is not None:
        yield f"rules    {'none could be read: everything is refused' if rules['closed'] else rules['count']}"
        yield from (f"         not in force: {output.visible(each)}" for each in rules["problems"])
    if (packs := state.get("packs")) is not None:
        yield f"packs    {packs['count']}"
        yield from (f"         not in use: {output.visible(each)}" for each in packs["problems"])


def _span(seconds: float) -> str:
    minutes, hours = int(seconds // 60), int(seconds // 3600)
    if hours >= 48:
        return f"{hours // 24} days"
    return f"{hours} h {minutes % 60} min" if hours else f"{minutes} min" if minutes else f"{int(seconds)} s"
