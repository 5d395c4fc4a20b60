"""`wavelet pack`: the packs of this node, which containers can have added by name."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator, Sequence

from wavelet.cli import daemon_call
from wavelet.cli.output import emit, plain, table, visible
from wavelet.cli.packs import check
from wavelet.cli.subcommands import add_command
from wavelet.client import Client
from wavelet.quantities import size
from wavelet.v1.packs_pb2 import Pack

FLAGS = {"reference": "NAME"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the commands below this one, and their arguments."""
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    listing = add_command(commands, "list", "list the packs of the daemon's node, and what is wrong with them")
    show = add_command(commands, "show", "show what a pack adds to a container")
    show.add_argument("name", metavar="NAME", help="its name, or NAME@VERSION")
    checking = add_command(commands, "check", "say what packs would be built of directories; no daemon is needed")
    check.add_check_arguments(checking)
    building = add_command(commands, "build", "build a pack into files; no daemon is needed")
    check.add_build_arguments(building)
    for each, act in ((listing, _list), (show, _show)):
        daemon_call.add_options(each)
        each.set_defaults(act=act)
    checking.set_defaults(act=check.check)
    building.set_defaults(act=check.build)


def run(options: argparse.Namespace) -> int:
    """Do what is asked."""
    return int(options.act(options))


def _list(options: argparse.Namespace) -> int:
    def act(client: Client) -> int:
        packs = client.list_packs().packs
        emit([plain(each) for each in packs], options.output, _listing(packs))
        return _told(packs)

    return daemon_call.call(options, act)


def _listing(packs: Sequence[Pack]) -> Iterator[str]:
    """Yield a table of packs, and what has to be done for those that are not in use."""
    yield from table(("pack", "version", "for", "layers", "size", "from"), [_row(each) for each in packs])
    yield from (f"{visible(each.name)}: {visible(each.unused)}" for each in packs if each.unused)


def _row(pack: Pack) -> tuple[str, ...]:
    if not pack.version:
        return pack.name, "", "", "", "", "wavelet" if pack.shipped else pack.directory
    layers = pack.config.layers
    amount = size(sum(each.gzip_size for each in layers))
    origin = "wavelet" if pack.shipped else pack.directory
    return pack.name, pack.version, ", ".join(pack.architectures) or "all", str(len(layers)), amount, origin


def _show(options: argparse.Namespace) -> int:
    def act(client: Client) -> int:
        pack = client.get_pack(options.name).pack
        emit(plain(pack), options.output, _lines(pack))
        return _told([pack])

    return daemon_call.call(options, act, FLAGS)


def _lines(pack: Pack) -> Iterator[str]:
    """Yield what a pack is and adds."""
    yield f"{pack.name}@{pack.version}"
    said = {
        "for": ", ".join(pack.architectures) or "all architectures",
        "from": "wavelet" if pack.shipped else pack.directory,
        "document": pack.url,
        "entry point": " ".join(pack.config.entrypoint),
        "devices": ", ".join(pack.needs.devices),
        "capabilities": ", ".join(pack.needs.capabilities),
    }
    yield from (f"{name:12}  {value}" for name, value in said.items() if value)
    yield from (f"{'variable':12}  {variable}" for variable in pack.config.env)
    rows = [(each.location.rpartition("/")[2], each.gzip_digest, size(each.gzip_size)) for each in pack.config.layers]
    yield from table(("layer", "digest", "size"), rows)


def _told(packs: Iterable[Pack]) -> int:
    """Say what is wrong with packs, and return the exit code."""
    broken = [each for each in packs if each.problem]
    for each in broken:
        sys.stderr.write(f"wavelet: pack {visible(each.name)}: {visible(each.problem)}\n")
    return daemon_call.FAILED if broken else daemon_call.DONE
