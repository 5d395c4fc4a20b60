"""`wavelet pull` and `wavelet prefetch`: take images into the store, on into an engine of this node, or into files."""

from __future__ import annotations

import argparse
import os
from typing import TypedDict

from wavelet.cli import daemon_call, image_transfers
from wavelet.cli.argument_types import duration
from wavelet.cli.output import emit
from wavelet.cli.pull import images as image_files
from wavelet.cli.pull import sifs
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

_TARGETS = {
    "store": pb.PREFETCH_TARGET_STORE,
    "docker": pb.PREFETCH_TARGET_DOCKER,
    "podman": pb.PREFETCH_TARGET_PODMAN,
}


class Outcome(TypedDict):
    """What became of an image; `size` in bytes, where it is known."""

    image: str
    digest: str
    size: int | None
    error: image_transfers.Failure | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    image_transfers.add_options(parser)
    goes = parser.add_mutually_exclusive_group()
    goes.add_argument("--into", choices=tuple(_TARGETS), default="store", help="where they go (store)")
    goes.add_argument("--sif", metavar="FILE", help="write one image to a SIF file for Apptainer; replaces the file")
    goes.add_argument(
        "--sif-dir", metavar="DIR",
        help="write SIFs under the names that Nextflow looks for in cacheDir or libraryDir; what is there stays",
    )  # fmt: skip
    goes.add_argument(
        "--unpack", metavar="DIR", help="unpack one image's root file system into an empty directory, or a new one"
    )
    goes.add_argument("--oci", metavar="DIR", help="add images to an OCI image layout, each listed under its tag")
    parser.add_argument(
        "--engine-socket", metavar="ADDRESS", default="",
        help="the engine's socket (DOCKER_HOST, docker's context, CONTAINER_HOST; else its usual place)",
    )  # fmt: skip
    parser.add_argument(
        "--platform", metavar="NAME", action="append", default=[],
        help="which ones of an index (linux/amd64; of SIFs one, the daemon's own); repeat",
    )  # fmt: skip
    parser.add_argument(
        "--registry", metavar="HOST[/PATH]", default="",
        help="with --sif and --sif-dir: what `apptainer.registry` or `singularity.registry` is in Nextflow's "
        "configuration, for names without a registry (Docker Hub)",
    )  # fmt: skip
    parser.add_argument("--keep", metavar="TIME", type=duration, help="not evicted within this time (the site's lease)")
    daemon_call.add_options(parser)


def run(options: argparse.Namespace) -> int:
    """Take the images in; 1 if one failed.

    Raises:
        InvalidRequest: there is no image to take, or a list cannot be read.
    """
    if any(each is not None for each in (options.sif, options.sif_dir, options.unpack, options.oci)):
        return _pull_files(options)
    images = image_transfers.images_of(options)
    if options.into != "store" and not options.engine_socket:
        options.engine_socket = chosen_address(options.into, os.environ)
    return daemon_call.call(options, lambda client: _take(client, images, options), FLAGS)


def _pull_files(options: argparse.Namespace) -> int:
    for given, name in ((options.keep, "--keep"), (options.engine_socket, "--engine-socket")):
        if given:
            raise InvalidRequest(f"{name}: says nothing of files")
    if options.unpack is not None:
        return image_files.pull_tree(options, image_transfers.images_of(options))
    if options.oci is not None:
        return image_files.pull_layout(options, image_transfers.images_of(options))
    containers = image_transfers.containers_of(options)
    if options.sif is not None:
        return sifs.pull_file(options, containers)
    return sifs.pull_directory(options, containers)


def _take(client: Client, images: list[str], options: argparse.Namespace) -> int:
    ended = image_transfers.transfer(
        images,
        lambda some: client.prefetch(
            some,
            platforms=options.platform,
            target=_TARGETS[options.into],
            engine_address=options.engine_socket,
            concurrency=options.concurrency,
            lease=options.keep,
        ),
        # Engines do not tell how much.
        lambda event: f"there, {size(event.bytes.total)}" if event.bytes.total else "there",
        FLAGS,
    )
    text = [f"{event.image}  {event.digest}" for event in ended if event.done]
    emit([_outcome(event) for event in ended], options.output, text)
    return image_transfers.exit_code(ended)


def _outcome(event: pb.PrefetchResponse) -> Outcome:
    error = image_transfers.failure_of(event)
    return {"image": event.image, "digest": event.digest, "size": event.bytes.total or None, "error": error}
