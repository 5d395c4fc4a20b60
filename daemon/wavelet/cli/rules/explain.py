"""`wavelet rules explain`: its arguments, and the request that they make."""

from __future__ import annotations

import argparse
import os
import pwd

from wavelet.cli.container_options import add_rules_options
from wavelet.errors import InvalidRequest
from wavelet.v1.containers_pb2 import Packages, ResolveRequest

CONDA = "conda:"
DOORS = ("wave", "grpc", "registry", "sif", "inspect")
BY_NAME = ("registry", "sif", "inspect")
"""Doors by which something is asked for by a name alone."""

_UID_LIMIT = 2**32 - 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what is asked for, by whom and how."""
    parser.add_argument(
        "what", metavar="IMAGE", nargs="+",
        help="an image, or packages as conda:SPEC; where --door takes names, a name as engines pull it",
    )  # fmt: skip
    parser.add_argument("--platform", metavar="NAME", action="append", default=[], help="e.g. linux/arm64; repeat")
    parser.add_argument("--door", choices=DOORS, default="", help="by which it would be asked for (wave)")
    parser.add_argument(
        "--as", metavar="USER", type=user, dest="uid", help="for this user, name or number: for administrators (you)"
    )
    add_rules_options(parser)


def user(text: str) -> int:
    """Return the uid of a user, whose name or number it is.

    Raises:
        argparse.ArgumentTypeError: there is no such user on this machine.
    """
    if text.isascii() and text.isdecimal() and int(text[:11]) < _UID_LIMIT:
        return int(text)
    try:
        return pwd.getpwnam(text).pw_uid
    except (KeyError, ValueError):
        raise argparse.ArgumentTypeError(f"there is no user {text!r} on this machine") from None


def request_of(options: argparse.Namespace) -> ResolveRequest:
    """Return the request.

    Raises:
        InvalidRequest: more than one image, packages beside one, or packages by a door that takes names alone.
    """
    names = [each for each in options.what if not each.startswith(CONDA)]
    specs = [each.removeprefix(CONDA) for each in options.what if each.startswith(CONDA)]
    if len(names) + bool(specs) != 1:
        raise InvalidRequest("give one image, or packages as conda:SPEC; each image is explained by itself")
    request = ResolveRequest(platforms=options.platform, packs=options.pack, labels=dict(options.label))
    if specs and options.door in BY_NAME:
        raise InvalidRequest(f"--door {options.door}: takes a name as engines pull it, such as conda/samtools:1.17")
    if specs:
        request.packages.CopyFrom(Packages(entries=specs))
    elif options.door in BY_NAME:
        request.name = names[0]
    else:
        request.container_image = names[0]
    return request


def is_for_another(options: argparse.Namespace) -> bool:
    """Tell whether it is explained for another user, which takes the socket for administration."""
    return options.uid is not None and options.uid != os.geteuid()
