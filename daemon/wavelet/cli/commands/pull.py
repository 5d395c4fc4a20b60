"""`wavelet pull` and `wavelet prefetch`: take images into the store, or on into an engine of this node."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable
from typing import TypedDict

from wavelet.cli import daemon_call
from wavelet.cli.argument_types import count, duration
from wavelet.cli.image_lists import names_in, unique
from wavelet.cli.input_files import text_of
from wavelet.cli.output import emit
from wavelet.cli.progress import Progress, progress
from wavelet.client import Client
from wavelet.errors import InvalidRequest
from wavelet.quantities import size
from wavelet.requests.engine_address import chosen_address
from wavelet.v1 import images_pb2 as pb

FLAGS = {
    "images": "IMAGE",
    "platforms": "--platform",
    "target": "--into",
    "engineAddress": "--engine-socket",
    "concurrency": "--concurrency",
}

PART = 1000
"""Images of one call; longer lists are several calls."""

_ALL = "all images"

_TARGETS = {
    "store": pb.PREFETCH_TARGET_STORE,
    "docker": pb.PREFETCH_TARGET_DOCKER,
    "podman": pb.PREFETCH_TARGET_PODMAN,
}


class Failure(TypedDict):
    """Why an image could not be taken in, and whose fault that is."""

    message: str
    fault: str


class Outcome(TypedDict):
    """What became of an image; `size` in bytes, where it is known."""

    image: str
    digest: str
    size: int | None
    error: Failure | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "images", metavar="IMAGE", nargs="*", help="images of registries, or names that the daemon serves"
    )
    parser.add_argument(
        "--file", metavar="FILE", action="append", default=[],
        help="a list: a name a line, or what `nextflow inspect -format json` prints; - is stdin; repeat",
    )  # fmt: skip
    parser.add_argument("--into", choices=tuple(_TARGETS), default="store", help="where they go (store)")
    parser.add_argument(
        "--engine-socket", metavar="ADDRESS", default="",
        help="the engine's socket (DOCKER_HOST, docker's context, CONTAINER_HOST; else its usual place)",
    )  # fmt: skip
    parser.add_argument(
        "--platform", metavar="NAME", action="append", default=[], help="which ones of an index (linux/amd64); repeat"
    )
    parser.add_argument("--concurrency", metavar="N", type=count, default=0, help="images at one time (3)")
    parser.add_argument("--keep", metavar="TIME", type=duration, help="not evicted within this time (the site's lease)")
    daemon_call.add_options(parser)


def run(options: argparse.Namespace) -> int:
    """Take the images in; 1 if one failed.

    Raises:
        InvalidRequest: there is no image to take, or a list cannot be read.
    """
    listed = [name for file in options.file for name in names_in(text_of(file, "--file"), file)]
    images = unique([*options.images, *listed])
    if not images:
        raise InvalidRequest("no image is named; name some, or give a list of them with --file")
    if options.into != "store" and not options.engine_socket:
        options.engine_socket = chosen_address(options.into, os.environ)
    return daemon_call.call(options, lambda client: _take(client, images, options), FLAGS)


def _take(client: Client, images: list[str], options: argparse.Namespace) -> int:
    taken: list[Outcome] = []
    with progress() as shown:
        shown.update(_ALL, 0, len(images), in_bytes=False)
        for start in range(0, len(images), PART):
            events = client.prefetch(
                images[start : start + PART],
                platforms=options.platform,
                target=_TARGETS[options.into],
                engine_address=options.engine_socket,
                concurrency=options.concurrency,
                lease=options.keep,
            )
            taken += _follow(events, shown, len(taken), len(images))
    emit(taken, options.output, [f"{each['image']}  {each['digest']}" for each in taken if not each["error"]])
    failed = [each for each in taken if each["error"]]
    if not failed:
        return daemon_call.DONE
    names = ", ".join(each["image"] for each in failed)
    sys.stderr.write(f"wavelet: {len(failed)} of {len(images)} failed: {names}\n")
    return daemon_call.FAILED


def _follow(events: Iterable[pb.PrefetchResponse], shown: Progress, before: int, total: int) -> list[Outcome]:
    """Return what became of each image of a call, in the order of the call."""
    ended: dict[int, Outcome] = {}
    for event in events:
        if not (event.done or event.HasField("error")):
            shown.update(event.image, event.bytes.done, event.bytes.total, in_bytes=True)
            continue
        ended[event.index] = _became(event)
        shown.end(event.image)
        shown.say(f"{event.image}: {_said(event)}")
        shown.update(_ALL, before + len(ended), total, in_bytes=False)
    return [ended[index] for index in sorted(ended)]


def _became(event: pb.PrefetchResponse) -> Outcome:
    error: Failure | None = None
    if event.HasField("error"):
        error = {"message": event.error.message, "fault": event.error.fault}
    return {"image": event.image, "digest": event.digest, "size": event.bytes.total or None, "error": error}


def _said(event: pb.PrefetchResponse) -> str:
    if event.HasField("error"):
        return f"{daemon_call.WHO[event.error.fault]}: {event.error.message}"
    return f"there, {size(event.bytes.total)}" if event.bytes.total else "there"  # engines do not tell how much
