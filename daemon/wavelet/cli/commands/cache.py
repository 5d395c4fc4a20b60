"""`wavelet cache`: what the store of this node holds, what stays, and what goes."""

from __future__ import annotations

import argparse

from google.protobuf.timestamp_pb2 import Timestamp

from wavelet.cli import daemon_call
from wavelet.cli.argument_types import byte_count
from wavelet.cli.input_files import has_token, token_in
from wavelet.cli.output import emit, plain, table
from wavelet.cli.subcommands import add_command
from wavelet.client import Client
from wavelet.errors import InvalidRequest
from wavelet.quantities import size
from wavelet.v1.cache_pb2 import ListResponse, PinResponse, UnpinResponse

FLAGS = {"names": "NAME", "keep": "--keep"}

_EVERYBODY = "anonymous"
_KEPT = "a lease ends `store.lease` after the last pull, and `cache gc NAME` removes an image in spite of it"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the commands below this one, and their arguments."""
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    ls = add_command(commands, "ls", "list the images, the last used first")
    ls.add_argument("--blobs", action="store_true", help="list single blobs instead")
    stats = add_command(commands, "stats", "say how full the store is")
    pin = add_command(commands, "pin", "keep images or blobs from eviction")
    unpin = add_command(commands, "unpin", "let them be evicted again")
    rm = add_command(commands, "rm", "forget the names of frozen images, on all nodes that share the records")
    rm.add_argument("names", metavar="NAME", nargs="+", help="a frozen name, as `cache ls` or a pipeline has it")
    gc = add_command(commands, "gc", "remove what is neither pinned nor leased, the least recently used first")
    gc.add_argument("--keep", metavar="SIZE", type=byte_count, help="bytes that may stay, e.g. 50GB; 0: nothing")
    for each, count in ((pin, "+"), (unpin, "+"), (gc, "*")):
        each.add_argument("names", metavar="NAME", nargs=count, help="an image as `cache ls` names it, or a digest")
    for each, act in ((ls, _ls), (stats, _stats), (pin, _pin), (unpin, _unpin), (rm, _rm), (gc, _gc)):
        daemon_call.add_options(each, admin=each not in (stats, rm))
        each.set_defaults(act=act)


def run(options: argparse.Namespace) -> int:
    """Do what is asked.

    Raises:
        InvalidRequest: `gc` does not say what may go, or `rm` names what no request has.
    """
    if options.act is _gc and bool(options.names) == (options.keep is not None):
        raise InvalidRequest("say what may go: NAMEs, or --keep SIZE (--keep 0: all that is neither pinned nor leased)")
    if options.act is _rm and (other := next((name for name in options.names if not has_token(name)), None)):
        raise InvalidRequest(
            f"{other}: is no frozen name, which ends in 32 hexadecimal digits; `wavelet cache gc {other}` removes an "
            "image from this node, and for good one that was pushed to it"
        )
    return daemon_call.call(options, lambda client: int(options.act(client, options)), FLAGS)


def _ls(client: Client, options: argparse.Namespace) -> int:
    found = list(client.cache_list(blobs=options.blobs))
    heads = (
        ("digest", "size", "last used", "kept") if options.blobs else ("image", "size", "last used", "kept", "digest")
    )
    emit([plain(each) for each in found], options.output, table(heads, [_row(each) for each in found]))
    return daemon_call.DONE


def _row(each: ListResponse) -> tuple[str, ...]:
    whole = each.size == each.full_size
    amount = size(each.size) if whole else f"{size(each.size)} of {size(each.full_size)}"
    if each.frozen and not each.size:
        amount = "nothing here"
    kept = "pinned" if each.pinned else f"to {_time(each.leased_until)}" if each.HasField("leased_until") else ""
    if each.pushed_by:
        kept = "pushed" if each.pushed_by == _EVERYBODY else f"pushed by {each.pushed_by}"
    rest = (amount, _time(each.last_used), kept)
    return (each.name, *rest, each.digest) if each.name else (each.digest, *rest)


def _stats(client: Client, options: argparse.Namespace) -> int:
    found = client.cache_stats()
    text = [
        f"store     {size(found.size)} of {size(found.limit)}, in {found.blobs} blobs",
        f"pinned    {size(found.pinned)}",
        f"leased    {size(found.leased)}",
        f"pushed    {size(found.pushed)} of {size(found.pushed_limit)}",
        f"arriving  {size(found.reserved)}",
        f"free      {size(found.free)} on the disk",
    ]
    emit(plain(found), options.output, text)
    return daemon_call.DONE


def _pin(client: Client, options: argparse.Namespace) -> int:
    return _counted(client.pin(options.names), "pinned", options)


def _unpin(client: Client, options: argparse.Namespace) -> int:
    return _counted(client.unpin(options.names), "unpinned", options)


def _rm(client: Client, options: argparse.Namespace) -> int:
    for name in options.names:
        client.evict_token(token_in(name))
    emit({"names": options.names}, options.output, [f"{name} is forgotten" for name in options.names])
    return daemon_call.DONE


def _gc(client: Client, options: argparse.Namespace) -> int:
    answer = client.collect(options.names, keep=options.keep or 0)
    left = client.cache_stats()
    text = [f"removed {answer.blobs} blobs, {size(answer.size)}"]
    if options.keep is not None and left.size > options.keep:
        kept = f"{size(left.leased)} leased, {size(left.pinned)} pinned, {size(left.pushed)} pushed"
        text.append(f"kept    {size(left.size)}: {kept}; {_KEPT}")
    stays = {"left": left.size, "leased": left.leased, "pinned": left.pinned}
    emit(plain(answer) | stays, options.output, text)
    return daemon_call.DONE


def _counted(answer: PinResponse | UnpinResponse, did: str, options: argparse.Namespace) -> int:
    emit(plain(answer), options.output, [f"{did} {answer.blobs} blobs, {size(answer.size)}"])
    return daemon_call.DONE


def _time(found: Timestamp) -> str:
    return found.ToDatetime().strftime("%Y-%m-%d %H:%M")
