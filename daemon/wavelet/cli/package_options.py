"""Conda packages in arguments: the options that `resolve` and `conda` have in common, and the message they make."""

from __future__ import annotations

import argparse

from wavelet.cli.input_files import text_of
from wavelet.errors import InvalidRequest
from wavelet.kinds.conda.locks.foreign import refuse_foreign_name
from wavelet.v1.containers_pb2 import CondaOpts, Packages

FLAGS = {
    "packages.entries": "--conda-package",
    "packages.environment": "--conda-file",
    "packages.channels": "--conda-channels",
    "packages.asOf": "--as-of",
    "packages.condaOpts.baseImage": "--conda-base-image",
    "packages.condaOpts.basePackages": "--conda-base-packages",
}
"""The options that members of the message come from."""


def add_options(parser: argparse.ArgumentParser | argparse._ArgumentGroup, *, entries: bool) -> None:
    """Declare the options.

    Args:
        parser: the command's, or a group of its options.
        entries: packages have an option too; else they are the command's arguments, under the same name.
    """
    if entries:
        parser.add_argument(
            "--conda-package", metavar="SPEC", action="append", default=[], help="a package, e.g. samtools=1.17; repeat"
        )
    parser.add_argument(
        "--conda-file", metavar="FILE", help="an environment or lock file; also the URL of one; - is stdin"
    )
    parser.add_argument(
        "--conda-channels",
        metavar="NAMES",
        action="append",
        default=[],
        help="channels, with commas between (the site's)",
    )
    parser.add_argument(
        "--conda-base-packages", metavar="SPECS", help="packages that are added, with spaces between (the site's)"
    )
    parser.add_argument("--conda-base-image", metavar="IMAGE", help="the image under the packages (the site's)")
    parser.add_argument("--as-of", metavar="DATE", help="only packages that were there at this date, e.g. 2025-01-31")


def packages_of(options: argparse.Namespace) -> Packages:
    """Return the packages that are asked for.

    Raises:
        InvalidRequest: the file cannot be read, has nothing in it, or is of another package manager.
    """
    file = options.conda_file or ""
    is_url = file.startswith(("http://", "https://"))
    if not is_url and file:
        refuse_foreign_name(file, "--conda-file")
    channels = [name.strip() for text in options.conda_channels for name in text.split(",") if name.strip()]
    packages = Packages(
        entries=[*options.conda_package, *([file] if is_url else [])],
        environment="" if is_url or not file else _environment(file),
        channels=channels,
        as_of=options.as_of or "",
    )
    if options.conda_base_packages is not None or options.conda_base_image:
        opts = CondaOpts(base_packages=options.conda_base_packages, base_image=options.conda_base_image or "")
        packages.conda_opts.CopyFrom(opts)
    return packages


def _environment(file: str) -> str:
    """Return the text of an environment file. An empty one is refused here: the daemon cannot tell it from none."""
    text = text_of(file, "--conda-file")
    if not text:
        raise InvalidRequest(f"--conda-file: {file} has nothing in it")
    return text
