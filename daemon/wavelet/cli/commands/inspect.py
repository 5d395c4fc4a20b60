"""`wavelet inspect`: an image's documents, as its registry has them."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from typing import Any

from wavelet.cli import daemon_call
from wavelet.cli.output import emit, table
from wavelet.client import Client
from wavelet.sizes import size
from wavelet.v1.images_pb2 import InspectResponse

FLAGS = {"platform": "--platform", "image": "IMAGE"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("image", metavar="IMAGE", help="an image of a registry, or a name that the daemon serves")
    parser.add_argument("--platform", metavar="NAME", default="", help="which one of an index, e.g. linux/amd64")
    daemon_call.add_options(parser)


def run(options: argparse.Namespace) -> int:
    """Print the documents."""

    def act(client: Client) -> int:
        value = _value(client.inspect(options.image, platform=options.platform))
        emit(value, options.output, _lines(value))
        return daemon_call.DONE

    return daemon_call.call(options, act, FLAGS)


def _value(found: InspectResponse) -> dict[str, Any]:
    return {
        "reference": found.reference,
        "digest": found.digest,
        "mediaType": found.media_type,
        "size": found.size,
        "manifest": json.loads(found.manifest),
        "config": json.loads(found.config) if found.config else None,
    }


def _lines(value: dict[str, Any]) -> Iterator[str]:
    yield f"reference   {value['reference']}"
    yield f"digest      {value['digest']}"
    yield f"type        {value['mediaType']}"
    if value["config"] is None:
        yield from _members(value["manifest"].get("manifests", []))
        return
    yield f"size        {size(value['size'])}"
    yield from _configuration(value["config"])
    layers = value["manifest"].get("layers", [])
    yield from table(("layer", "size"), [(each["digest"], size(each["size"])) for each in layers])


def _members(members: list[dict[str, Any]]) -> list[str]:
    rows = [(_platform(each.get("platform") or {}), each["digest"], size(each["size"])) for each in members]
    return table(("platform", "digest", "manifest"), rows)


def _configuration(config: dict[str, Any]) -> Iterator[str]:
    inner = config.get("config") or {}
    yield f"platform    {_platform(config)}"
    for name, key in (("entrypoint", "Entrypoint"), ("command", "Cmd")):
        if inner.get(key):
            yield f"{name:10}  {' '.join(inner[key])}"
    for name, key in (("directory", "WorkingDir"), ("user", "User")):
        if inner.get(key):
            yield f"{name:10}  {inner[key]}"
    for variable in inner.get("Env") or ():
        yield f"variable    {variable}"


def _platform(found: dict[str, Any]) -> str:
    return "/".join(filter(None, (found.get("os"), found.get("architecture"), found.get("variant")))) or "unknown"
