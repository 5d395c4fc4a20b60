"""`wavelet requests`: what was asked of the daemon, by whom, how far it is and why; the user's own, or everybody's."""

from __future__ import annotations

import argparse
import pwd
from collections.abc import Iterator

from wavelet.cli import daemon_call
from wavelet.cli.output import emit, plain, table
from wavelet.cli.request_progress import work_line
from wavelet.client import Client
from wavelet.v1 import containers_pb2 as pb

_STATES = {
    pb.CONTAINER_STATE_PENDING: "pending",
    pb.CONTAINER_STATE_READY: "ready",
    pb.CONTAINER_STATE_FAILED: "failed",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("-n", "--limit", metavar="NUMBER", type=_number, default=0, help="how many, the latest (50)")
    daemon_call.add_options(parser)
    parser.add_argument("-a", "--all", action="store_true", dest="admin", help="everybody's: for administrators")


def _number(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 0 < int(text[:20]) < 2**32):
        raise argparse.ArgumentTypeError("it takes a number above 0")
    return int(text)


def run(options: argparse.Namespace) -> int:
    """Print the requests."""

    def act(client: Client) -> int:
        found = client.list_requests(limit=options.limit)
        emit([plain(each) for each in found.requests], options.output, _lines(found))
        return daemon_call.DONE

    return daemon_call.call(options, act, {})


def _lines(found: pb.ListRequestsResponse) -> Iterator[str]:
    """Yield the table; below each request that it has: why it failed, what was noted, and what is being done."""
    heads = ("asked", "by", "state", "container", "token")
    head, *rows = table(heads, [_row(each) for each in found.requests]) or [""]
    if rows:
        yield head
    for row, each in zip(rows, found.requests, strict=True):
        yield row
        yield from (f"    {line}" for line in each.reason.splitlines())
        yield from (f"    note: {note}" for note in each.notes)
        if each.rules:
            yield f"    rules: {', '.join(each.rules)}"
        if each.HasField("running"):
            yield f"    {work_line(each.running)}"


def _row(each: pb.RequestEntry) -> tuple[str, ...]:
    state = "refused" if each.refused else _STATES.get(each.state, "unknown")
    when = each.asked.ToDatetime().isoformat(" ", "seconds")
    return when, _user(each), state, each.container_image, each.token


def _user(each: pb.RequestEntry) -> str:
    if not each.HasField("uid"):
        return "nobody"
    try:
        return pwd.getpwuid(each.uid).pw_name
    except (KeyError, OverflowError):
        return str(each.uid)
