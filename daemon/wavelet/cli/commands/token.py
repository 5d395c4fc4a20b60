"""`wavelet token`: what a token of a container request stands for, and forgetting it."""

from __future__ import annotations

import argparse

from wavelet.cli import daemon_call
from wavelet.cli.input_files import token_in
from wavelet.cli.output import emit, plain
from wavelet.cli.subcommands import add_command
from wavelet.client import Client

FLAGS = {"token": "TOKEN"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the commands below this one, and their arguments."""
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    describe = add_command(commands, "describe", "say what a token stands for")
    evict = add_command(commands, "evict", "forget a token: its name is no longer served")
    for each, act in ((describe, _describe), (evict, _evict)):
        each.add_argument("token", metavar="TOKEN", help="the token of the request, its name, or the id of its build")
        each.set_defaults(act=act)
        daemon_call.add_options(each)


def run(options: argparse.Namespace) -> int:
    """Do what is asked."""
    return daemon_call.call(options, lambda client: int(options.act(client, options)), FLAGS)


def _describe(client: Client, options: argparse.Namespace) -> int:
    emit(plain(client.describe(token_in(options.token))), options.output)
    return daemon_call.DONE


def _evict(client: Client, options: argparse.Namespace) -> int:
    token = token_in(options.token)
    client.evict_token(token)
    emit({"token": token, "evicted": True}, options.output, [f"{token} is forgotten"])
    return daemon_call.DONE
