"""`wavelet pack check` and `build`: their arguments, and what they print."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from wavelet.cli import daemon_call
from wavelet.cli.output import FORMS, emit, visible
from wavelet.cli.packs.local_build import LocalPack, built
from wavelet.cli.packs.written import write_document, write_layout
from wavelet.errors import CallerError, InvalidRequest
from wavelet.quantities import size

DOCUMENT = ".json"
SHOWN = 20
"""Paths of a layer that are shown to people."""


def add_check_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `check`."""
    parser.add_argument("directories", metavar="DIR", type=Path, nargs="+", help="directories with pack.yaml")
    parser.add_argument("-o", "--output", choices=FORMS, default="text", help="form of what is printed (text)")


def add_build_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `build`."""
    parser.add_argument("directory", metavar="DIR", type=Path, help="a directory with pack.yaml")
    parser.add_argument(
        "--to", metavar="PATH", type=Path, required=True,
        help="a new directory, for an OCI image layout; or FILE.json, for a document of containerConfig with the layers"
        " beside it",
    )  # fmt: skip
    parser.add_argument("--url", metavar="URL", help="with FILE.json: where its directory will be served")
    parser.add_argument("-o", "--output", choices=FORMS, default="text", help="form of what is printed (text)")


def check(options: argparse.Namespace) -> int:
    """Print what packs would be; 1 if one cannot be used."""
    values: list[dict[str, object]] = []
    text: list[str] = []
    broken = False
    for directory in options.directories:
        try:
            with built(directory) as local:
                values.append(_value(directory, local))
                text += _lines(local)
                _warn(local, local.warnings)
        except (CallerError, OSError) as error:
            broken = True
            why = error.message if isinstance(error, CallerError) else f"{error.filename}: {error.strerror}"
            values.append({"directory": str(directory), "problem": why})
            sys.stderr.write(f"wavelet: {visible(why)}\n")
    emit(values, options.output, text)
    return daemon_call.FAILED if broken else daemon_call.DONE


def build(options: argparse.Namespace) -> int:
    """Build a pack into files, and print which.

    Raises:
        CallerError: it cannot be used, has layers that only a daemon fetches, or there is something already.
    """
    as_document = options.to.suffix == DOCUMENT
    if as_document != bool(options.url):
        raise InvalidRequest("--url: it is for --to FILE.json, which needs it: layers are named there by their URLs")
    with built(options.directory) as local:
        if local.fetched:
            raise InvalidRequest(
                f"{local.fetched[0]}, which `pack build` does not do; put the pack where the daemon has its packs "
                "(packs.directory)"
            )
        _warn(local, local.warnings)
        if as_document:
            files = write_document(local, options.to, options.url)
            text = [str(each) for each in (options.to, *files)]
        else:
            digest = write_layout(local, options.to)
            text = [f"oci:{options.to}:{local.pack.version}  {digest}"]
        emit(_value(options.directory, local), options.output, text)
    return daemon_call.DONE


def _warn(local: LocalPack, warnings: Iterable[str]) -> None:
    for each in warnings:
        sys.stderr.write(f"wavelet: warning: {visible(local.pack.name)}: {visible(each)}\n")


def _value(directory: Path, local: LocalPack) -> dict[str, object]:
    pack = local.pack
    return {
        "directory": str(directory),
        "name": pack.name,
        "version": "" if local.is_version_open else pack.version,
        "architectures": sorted(pack.architectures),
        "entrypoint": list(pack.entrypoint),
        "env": list(pack.env),
        "needs": {"devices": list(pack.needs.devices), "capabilities": list(pack.needs.capabilities)},
        "layers": [
            {
                "digest": str(each.layer.digest),
                "size": each.layer.size,
                "tarDigest": str(each.layer.diff_id),
                "architecture": each.layer.architecture or "",
                "paths": sorted(each.paths),
            }
            for each in pack.layers
        ],
        "fetched": list(local.fetched),
        "warnings": list(local.warnings),
        "problem": "",
    }


def _lines(local: LocalPack) -> Iterator[str]:
    pack = local.pack
    yield f"{pack.name}, version told by what is fetched" if local.is_version_open else pack.reference
    said = {
        "for": ", ".join(sorted(pack.architectures)) or "all architectures",
        "entry point": " ".join(pack.entrypoint),
        "devices": ", ".join(pack.needs.devices),
        "capabilities": ", ".join(pack.needs.capabilities),
    }
    yield from (f"  {name:12}  {value}" for name, value in said.items() if value)
    yield from (f"  {'variable':12}  {each}" for each in pack.env)
    for each in pack.layers:
        layer = each.layer
        yield f"  layer {layer.digest}, {size(layer.size or 0)}, for {layer.architecture or 'all architectures'}"
        yield from (f"    /{path}" for path in sorted(each.paths)[:SHOWN])
        if len(each.paths) > SHOWN:
            yield f"    and {len(each.paths) - SHOWN} more"
    yield from (f"  {each}" for each in local.fetched)
