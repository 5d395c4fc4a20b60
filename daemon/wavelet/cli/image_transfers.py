"""Images that a command has the daemon transfer: how they are named, how far they are, and what became of each."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypedDict, TypeVar

from wavelet.cli import daemon_call
from wavelet.cli.argument_types import count
from wavelet.cli.image_lists import listed, names_in, unique
from wavelet.cli.input_files import STDIN, text_of
from wavelet.cli.progress import Progress, progress
from wavelet.errors import InvalidRequest
from wavelet.v1 import images_pb2 as pb

E = TypeVar("E", pb.PrefetchResponse, pb.MirrorResponse)

PART = 1000
"""Images of one call; longer lists are several calls."""

_ALL = "all images"


class Failure(TypedDict):
    """Why an image is not there, and whose fault that is."""

    message: str
    fault: str


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare what names the images, and how many are transferred at one time."""
    parser.add_argument(
        "images", metavar="IMAGE", nargs="*",
        help="images of registries, or names that the daemon serves; - is a list on stdin, as of --file",
    )  # fmt: skip
    parser.add_argument(
        "--file", metavar="FILE", action="append", default=[],
        help="a list: a name a line, or what `nextflow inspect` prints; - is stdin; repeat",
    )  # fmt: skip
    parser.add_argument("--concurrency", metavar="N", type=count, default=0, help="images at one time (3)")


def images_of(options: argparse.Namespace) -> list[str]:
    """Return the images that are named, each once; of lists without files, and what is of no registry.

    Raises:
        InvalidRequest: there is none, or a list cannot be read.
    """
    return _named(options, names_in)


def containers_of(options: argparse.Namespace) -> list[str]:
    """Return what is named, each once, as it stands there: of lists files and schemes too.

    Raises:
        InvalidRequest: there is none, or a list cannot be read.
    """
    return _named(options, listed)


def _named(options: argparse.Namespace, read: Callable[[str, str], list[str]]) -> list[str]:
    images = [name for name in options.images if name != STDIN]
    files = [*options.file, *([STDIN] if len(images) < len(options.images) else [])]
    images += [name for file in unique(files) for name in read(text_of(file, "--file"), file)]
    if not images:
        raise InvalidRequest("no image is named; name some, or give a list of them with --file")
    return unique(images)


def transfer(
    images: Sequence[str],
    call: Callable[[Sequence[str]], Iterable[E]],
    done: Callable[[E], str],
    flags: Mapping[str, str],
) -> list[E]:
    """Have images transferred, show how far they are, and return the last event of each, in their order.

    Args:
        images: what they are called.
        call: makes the call for some of them.
        done: what is said of one that is there.
        flags: the options that members of the request come from.
    """
    ended: list[E] = []
    with progress() as shown:
        shown.update(_ALL, 0, len(images), in_bytes=False)
        for start in range(0, len(images), PART):
            ended += _follow(call(images[start : start + PART]), done, flags, shown, len(ended), len(images))
    return ended


def _follow(
    events: Iterable[E],
    done: Callable[[E], str],
    flags: Mapping[str, str],
    shown: Progress,
    before: int,
    total: int,
) -> list[E]:
    ended: dict[int, E] = {}
    for event in events:
        if not (event.done or event.HasField("error")):
            shown.update(event.image, event.bytes.done, event.bytes.total, in_bytes=True)
            continue
        ended[event.index] = event
        shown.end(event.image)
        shown.say(f"{event.image}: {_failed(event.error, flags) if event.HasField('error') else done(event)}")
        shown.update(_ALL, before + len(ended), total, in_bytes=False)
    return [ended[index] for index in sorted(ended)]


def _failed(error: pb.PrefetchError, flags: Mapping[str, str]) -> str:
    flag = daemon_call.flag_of(error.field, flags)
    return f"{daemon_call.WHO[error.fault]}{f' ({flag})' if flag else ''}: {error.message}"


def failure_of(event: pb.PrefetchResponse | pb.MirrorResponse) -> Failure | None:
    """Return why an image is not there; None: it is."""
    return {"message": event.error.message, "fault": event.error.fault} if event.HasField("error") else None


def exit_code(ended: Sequence[pb.PrefetchResponse | pb.MirrorResponse]) -> int:
    """Return the exit code of a command, and name the images that failed."""
    failed = [event.image for event in ended if event.HasField("error")]
    if not failed:
        return daemon_call.DONE
    sys.stderr.write(f"wavelet: {len(failed)} of {len(ended)} failed: {', '.join(failed)}\n")
    return daemon_call.FAILED
