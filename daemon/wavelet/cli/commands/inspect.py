"""`wavelet inspect`: an image's documents, as its registry has them.

Of the documents that is read which is shown to people; programs get all of them.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator

from msgspec import Struct, field

from wavelet.cli import daemon_call
from wavelet.cli.output import emit, table
from wavelet.client import Client
from wavelet.foreign_json import decode
from wavelet.quantities import size
from wavelet.v1.images_pb2 import InspectResponse

FLAGS = {"platform": "--platform", "image": "IMAGE"}


class _Platform(Struct):
    os: str = ""
    architecture: str = ""
    variant: str = ""


class _Descriptor(Struct):
    digest: str
    size: int
    platform: _Platform = field(default_factory=_Platform)


class _Manifest(Struct):
    """A manifest, or an index."""

    manifests: tuple[_Descriptor, ...] = ()
    layers: tuple[_Descriptor, ...] = ()


class _Settings(Struct, rename="pascal"):
    """What containers of the image are started with."""

    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    working_dir: str = ""
    user: str = ""
    env: tuple[str, ...] = ()


class _Configuration(_Platform):
    config: _Settings = field(default_factory=_Settings)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("image", metavar="IMAGE", help="an image of a registry, or a name that the daemon serves")
    parser.add_argument("--platform", metavar="NAME", default="", help="which one of an index, e.g. linux/amd64")
    daemon_call.add_options(parser)


def run(options: argparse.Namespace) -> int:
    """Print the documents."""

    def act(client: Client) -> int:
        found = client.inspect(options.image, platform=options.platform)
        emit(_value(found), options.output, _lines(found))
        return daemon_call.DONE

    return daemon_call.call(options, act, FLAGS)


def _value(found: InspectResponse) -> dict[str, object]:
    return {
        "reference": found.reference,
        "digest": found.digest,
        "mediaType": found.media_type,
        "size": found.size,
        "manifest": json.loads(found.manifest),
        "config": json.loads(found.config) if found.config else None,
    }


def _lines(found: InspectResponse) -> Iterator[str]:
    manifest = decode(found.manifest, _Manifest)
    yield f"reference   {found.reference}"
    yield f"digest      {found.digest}"
    yield f"type        {found.media_type}"
    if not found.config:
        rows = [(_platform(each.platform), each.digest, size(each.size)) for each in manifest.manifests]
        yield from table(("platform", "digest", "manifest"), rows)
        return
    yield f"size        {size(found.size)}"
    yield from _configuration(decode(found.config, _Configuration))
    yield from table(("layer", "size"), [(each.digest, size(each.size)) for each in manifest.layers])


def _configuration(image: _Configuration) -> Iterator[str]:
    said = {
        "platform": _platform(image),
        "entrypoint": " ".join(image.config.entrypoint),
        "command": " ".join(image.config.cmd),
        "directory": image.config.working_dir,
        "user": image.config.user,
    }
    yield from (f"{name:10}  {value}" for name, value in said.items() if value)
    yield from (f"variable    {variable}" for variable in image.config.env)


def _platform(found: _Platform) -> str:
    return "/".join(filter(None, (found.os, found.architecture, found.variant))) or "unknown"
