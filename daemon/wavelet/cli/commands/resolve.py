"""`wavelet resolve`: name a container that is made of what the options say, and print the name to pull."""

from __future__ import annotations

import argparse
import sys

from wavelet.cli import container_options, daemon_call
from wavelet.cli.argument_types import duration
from wavelet.cli.output import emit, plain, visible
from wavelet.cli.progress import progress
from wavelet.cli.request_progress import wait_until_ready
from wavelet.client import Client
from wavelet.errors import InvalidRequest
from wavelet.v1.containers_pb2 import (
    CONTAINER_STATE_FAILED,
    CONTAINER_STATE_PENDING,
    EngineNeeds,
    ResolveRequest,
    ResolveResponse,
)

AWAIT_LIMIT = "15m"
"""For how long `--await` waits if it says nothing, as wave-cli does."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    container_options.add_options(parser)
    parser.add_argument(
        "--await", metavar="TIME", type=duration, nargs="?", const=duration(AWAIT_LIMIT), dest="limit",
        help=f"wait until it is ready, at most TIME ({AWAIT_LIMIT}), and show how that goes; what goes to another "
        "registry is waited for in any case",
    )  # fmt: skip
    daemon_call.add_options(parser)


def run(options: argparse.Namespace) -> int:
    """Print the name.

    Raises:
        InvalidRequest: the options contradict each other, or a file cannot be used.
    """
    if options.dry_run and options.limit:
        raise InvalidRequest("--dry-run makes nothing that --await could wait for; leave one of them out")
    request = container_options.request_of(options)

    def act(client: Client) -> int:
        made = _resolved(client, request, options)
        emit(plain(made), options.output, [made.target_image])
        for note in made.notes:
            sys.stderr.write(f"wavelet: note: {visible(note)}\n")
        if needed := _engine_options(made.needs):
            sys.stderr.write(f"wavelet: note: for the packs in it, start it with {visible(needed)}\n")
        if made.state == CONTAINER_STATE_PENDING and not options.dry_run:
            note = f"not ready yet; a pull waits, and `wavelet show {made.token}` says how far it is"
            sys.stderr.write(f"wavelet: {note}\n")
        if made.state == CONTAINER_STATE_FAILED:
            sys.stderr.write(f"wavelet: failed, and a pull of it fails too: {visible(made.reason)}\n")
            return daemon_call.FAILED
        return daemon_call.DONE

    return daemon_call.call(options, act, container_options.FLAGS)


def _engine_options(needs: EngineNeeds) -> str:
    """Return the options of `docker run` and `podman run` by which a container gets what its packs need."""
    devices = [f"--device {each}" for each in needs.devices]
    return " ".join([*devices, *(f"--cap-add {each}" for each in needs.capabilities)])


def _resolved(client: Client, request: ResolveRequest, options: argparse.Namespace) -> ResolveResponse:
    """Return what is named; if that is asked for, once it is ready, and so if no pull of it waits."""
    made = client.resolve(request, wait=0.0 if options.limit else None)
    is_on_its_way = made.remote and made.state == CONTAINER_STATE_PENDING and not options.dry_run
    if not (options.limit or is_on_its_way):
        return made
    with progress() as shown:
        limit = options.timeout or options.limit or duration(AWAIT_LIMIT)
        return wait_until_ready(client.within(limit), made.token, shown)
