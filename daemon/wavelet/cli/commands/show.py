"""`wavelet show`: a container request as Wave's pages show it: what was asked for, how far it is, and the log."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

from wavelet.cli import daemon_call
from wavelet.cli.input_files import token_in
from wavelet.cli.output import emit, lines, plain
from wavelet.client import Client

FLAGS = {"token": "ID"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("id", metavar="ID", help="the token of the request, its name, or the id of its build")
    daemon_call.add_options(parser)


def run(options: argparse.Namespace) -> int:
    """Print the request."""
    token = token_in(options.id)

    def act(client: Client) -> int:
        told = plain(client.describe(token))
        told["log"] = client.log(token).text
        emit(told, options.output, _lines(told))
        return daemon_call.DONE

    return daemon_call.call(options, act, FLAGS)


def _lines(told: dict[str, Any]) -> Iterator[str]:
    container, asked = told["container"], told.get("request", {})
    yield from lines(container | {"requested": told.get("creationTime", ""), "for": told["principal"]})
    yield from ("", "request", *(f"  {line}" for line in lines(asked)))
    if told["log"]:
        yield from ("", "log", *(f"  {line}" for line in told["log"].splitlines()))
    if "packages" in asked or "containerFile" in asked:
        yield from ("", f"the exact packages: wavelet conda lock --token {container['token']}")
