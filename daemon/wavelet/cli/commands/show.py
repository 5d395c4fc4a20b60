"""`wavelet show`: a container request as Wave's pages show it: what was asked for, how far it is, and the log."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from wavelet.cli import daemon_call
from wavelet.cli.input_files import token_in
from wavelet.cli.output import emit, lines, plain
from wavelet.cli.request_progress import work_line
from wavelet.client import Client
from wavelet.v1.containers_pb2 import DescribeResponse

FLAGS = {"token": "ID"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("id", metavar="ID", help="the token of the request, its name, or the id of its build")
    daemon_call.add_options(parser)


def run(options: argparse.Namespace) -> int:
    """Print the request."""
    token = token_in(options.id)

    def act(client: Client) -> int:
        described, log = client.describe(token), client.log(token).text
        emit(plain(described) | {"log": log}, options.output, _lines(described, log))
        return daemon_call.DONE

    return daemon_call.call(options, act, FLAGS)


def _said(described: DescribeResponse) -> dict[str, object]:
    when = described.creation_time.ToJsonString() if described.HasField("creation_time") else ""
    return {"requested": when, "for": described.principal, "rules": ", ".join(described.rules)}


def _lines(described: DescribeResponse, log: str) -> Iterator[str]:
    container, asked = described.container, plain(described.request, whole=False)
    yield from lines(plain(container, whole=False) | _said(described))
    if described.HasField("running"):
        yield work_line(described.running)
    yield from ("", "request", *(f"  {line}" for line in lines(asked)))
    if log:
        yield from ("", "log", *(f"  {line}" for line in log.splitlines()))
    if "packages" in asked or "containerFile" in asked:
        yield from ("", f"the exact packages: wavelet conda lock --token {container.token}")
