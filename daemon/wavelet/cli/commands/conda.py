"""`wavelet conda`: solve for packages, write lock files, name images of packages."""

from __future__ import annotations

import argparse
import sys

from wavelet.cli import daemon_call, package_options
from wavelet.cli.output import emit, plain, table
from wavelet.cli.progress import progress
from wavelet.cli.request_progress import wait_until_ready
from wavelet.cli.subcommands import add_command
from wavelet.client import Client
from wavelet.errors import InvalidRequest
from wavelet.quantities import size
from wavelet.v1 import conda_pb2 as pb
from wavelet.v1.containers_pb2 import Packages

FLAGS = package_options.FLAGS | {
    "packages.entries": "SPEC",
    "packages": "SPEC",
    "platform": "--platform",
    "platforms": "--platform",
    "token": "--token",
    "format": "--format",
    "refresh": "--refresh",
}

_FORMS = {
    "explicit": pb.LOCK_FORMAT_EXPLICIT,
    "pixi": pb.LOCK_FORMAT_PIXI,
    "conda-lock": pb.LOCK_FORMAT_CONDA_LOCK,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the commands below this one, and their arguments."""
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    solve = add_command(commands, "solve", "say which packages satisfy specs")
    lock = add_command(commands, "lock", "write exact packages as a lock file")
    image = add_command(commands, "image", "make an image of packages, and print the name to pull")
    for each, act in ((solve, _solve), (lock, _lock), (image, _image)):
        each.set_defaults(act=act, token=None)
        each.add_argument("conda_package", metavar="SPEC", nargs="*", help="packages, e.g. samtools=1.17")
        package_options.add_options(each, entries=False)
        each.add_argument("--platform", metavar="NAME", default="", help="e.g. linux/arm64 (linux/amd64)")
        each.add_argument("--refresh", action="store_true", help="solve anew, whatever was settled before")
        daemon_call.add_options(each)
    lock.add_argument("--token", metavar="TOKEN", help="the packages of a container request, instead of SPECs")
    lock.add_argument("--format", choices=tuple(_FORMS), default="explicit", help="form of the file (explicit)")


def run(options: argparse.Namespace) -> int:
    """Do what is asked.

    Raises:
        InvalidRequest: there are no packages, or their file cannot be read.
    """
    wanted = package_options.packages_of(options)
    has_packages = bool(wanted.entries or wanted.environment)
    if has_packages == (options.token is not None):
        one = "SPECs, --conda-file or --token" if options.act is _lock else "SPECs or --conda-file"
        raise InvalidRequest(f"give packages by one of {one}, e.g. samtools=1.17")
    return daemon_call.call(options, lambda client: int(options.act(client, wanted, options)), FLAGS)


def _solve(client: Client, wanted: Packages, options: argparse.Namespace) -> int:
    with progress() as shown:
        shown.update("solving", 0, 0, in_bytes=False)
        solved = client.solve(wanted, platform=options.platform, refresh=options.refresh)
    rows = [(each.name, each.version, each.build, each.subdir, size(each.size)) for each in solved.packages]
    rows += [(each.name, each.version, "wheel", "", "") for each in solved.wheels]
    emit(plain(solved), options.output, table(("package", "version", "build", "subdir", "size"), rows))
    return daemon_call.DONE


def _lock(client: Client, wanted: Packages, options: argparse.Namespace) -> int:
    form = _FORMS[options.format]
    if options.token is not None:
        answer = client.lock(token=options.token, format=form, platform=options.platform, refresh=options.refresh)
    else:
        answer = client.lock(packages=wanted, format=form, platform=options.platform, refresh=options.refresh)
    if options.output == "text":
        sys.stdout.write(answer.text)
    else:
        emit({"format": options.format, "text": answer.text}, options.output)
    return daemon_call.DONE


def _image(client: Client, wanted: Packages, options: argparse.Namespace) -> int:
    platforms = [options.platform] if options.platform else []
    with progress() as shown:
        made = client.resolve(packages=wanted, platforms=platforms, refresh=options.refresh, wait=0.0)
        made = wait_until_ready(client, made.token, shown)
    emit(plain(made), options.output, [made.target_image])
    return daemon_call.DONE
