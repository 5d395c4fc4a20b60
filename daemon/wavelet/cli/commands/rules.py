"""`wavelet rules`: the site's rules that are in force, what they would make of a request, and files before they are."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator

from wavelet.cli import daemon_call
from wavelet.cli.output import emit, plain, table, visible
from wavelet.cli.rules import check, explain, explained
from wavelet.cli.subcommands import add_command
from wavelet.client import Client
from wavelet.v1.rules_pb2 import ListRulesResponse

FLAGS = {
    "request.platforms": "--platform",
    "request.packs": "--pack",
    "request.labels": "--label",
    "packs": "--pack",
    "labels": "--label",
    "platforms": "--platform",
    "door": "--door",
    "uid": "--as",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the commands below this one, and their arguments."""
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    listing = add_command(commands, "list", "list the rules in force, and what is wrong with their files")
    explaining = add_command(commands, "explain", "say what the rules would make of a request; nothing is made")
    explain.add_arguments(explaining)
    checking = add_command(commands, "check", "say what is wrong with files of rules; no daemon is needed")
    check.add_arguments(checking)
    checking.set_defaults(act=check.run)
    for each, act in ((listing, _list), (explaining, _explain)):
        daemon_call.add_options(each)
        each.set_defaults(act=act)


def run(options: argparse.Namespace) -> int:
    """Do what is asked."""
    return int(options.act(options))


def _list(options: argparse.Namespace) -> int:
    def act(client: Client) -> int:
        found = client.list_rules()
        emit(plain(found), options.output, _listed(found))
        for problem in found.problems:
            sys.stderr.write(f"wavelet: not in force: {visible(problem)}\n")
        return daemon_call.FAILED if found.problems else daemon_call.DONE

    return daemon_call.call(options, act)


def _listed(found: ListRulesResponse) -> Iterator[str]:
    rows = [(each.name, each.place, each.when or "always", each.does) for each in found.rules]
    yield from table(("rule", "place", "when", "does"), rows)
    if not rows and not found.problems:
        yield f"no rules in {found.directory}" if found.directory else "no rules: rules.directory is not set"


def _explain(options: argparse.Namespace) -> int:
    request = explain.request_of(options)
    options.admin = explain.is_for_another(options)

    def act(client: Client) -> int:
        said = client.explain_rules(request, uid=options.uid, door=options.door)
        emit(explained.value_of(said), options.output, explained.lines_of(said))
        return daemon_call.DONE

    return daemon_call.call(options, act, FLAGS)
