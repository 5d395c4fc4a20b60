"""`wavelet mirror`: copy images to another registry as they are, with all platforms and what refers to them."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from typing import TypedDict

from wavelet.cli import daemon_call, image_transfers
from wavelet.cli.output import emit, table
from wavelet.client import Client
from wavelet.quantities import size
from wavelet.v1 import images_pb2 as pb

FLAGS = {"images": "IMAGE", "target": "--to", "concurrency": "--concurrency"}


class Outcome(TypedDict):
    """What became of an image: what was sent of it, or would be."""

    image: str
    target: str
    digest: str
    bytes: int
    blobs: int
    manifests: int
    error: image_transfers.Failure | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    image_transfers.add_options(parser)
    parser.add_argument(
        "--to", metavar="REGISTRY[/PATH]", required=True,
        help="the registry to copy to; images keep their path below that, and their tag",
    )  # fmt: skip
    parser.add_argument("--dry-run", action="store_true", help="only say what would be sent")
    daemon_call.add_options(parser)


def run(options: argparse.Namespace) -> int:
    """Copy the images; 1 if one failed.

    Raises:
        InvalidRequest: there is no image to copy, or a list cannot be read.
    """
    images = image_transfers.images_of(options)
    return daemon_call.call(options, lambda client: _mirror(client, images, options), FLAGS)


def _mirror(client: Client, images: list[str], options: argparse.Namespace) -> int:
    ended = image_transfers.transfer(
        images,
        lambda some: client.mirror(some, target=options.to, dry_run=options.dry_run, concurrency=options.concurrency),
        lambda event: _said(event, "to be sent" if options.dry_run else "sent"),
        FLAGS,
    )
    text = _planned(ended) if options.dry_run else _copied(ended)
    emit([_outcome(event) for event in ended], options.output, text)
    return image_transfers.exit_code(ended)


def _said(event: pb.MirrorResponse, sent: str) -> str:
    if not event.manifests:
        return "there already"
    return f"{size(event.bytes.total)} {sent} (blobs: {event.blobs}, manifests: {event.manifests})"


def _copied(ended: Sequence[pb.MirrorResponse]) -> Iterator[str]:
    return (f"{event.image}  {event.target_image}  {event.digest}" for event in ended if event.done)


def _planned(ended: Sequence[pb.MirrorResponse]) -> list[str]:
    """Return a table of what would be sent, and of all together: what several images have in common is sent once."""
    planned = [event for event in ended if event.done]
    rows = [(event.image, event.target_image, str(event.blobs), size(event.bytes.total)) for event in planned]
    blobs, in_all = sum(event.blobs for event in planned), sum(event.bytes.total for event in planned)
    return table(("image", "target", "blobs", "bytes"), [*rows, ("in all, at the most", "", str(blobs), size(in_all))])


def _outcome(event: pb.MirrorResponse) -> Outcome:
    return {
        "image": event.image,
        "target": event.target_image,
        "digest": event.digest,
        "bytes": event.bytes.total,
        "blobs": event.blobs,
        "manifests": event.manifests,
        "error": image_transfers.failure_of(event),
    }
