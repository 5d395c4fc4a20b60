"""The options of `wavelet resolve`, and the request that they make; named as those of wave-cli where it has them."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import get_args

from google.protobuf.json_format import ParseDict, ParseError

from wavelet.cli import package_options
from wavelet.cli.argument_types import label
from wavelet.cli.input_files import text_of
from wavelet.cli.layer_files import pack_all
from wavelet.errors import InvalidRequest
from wavelet.plan.delivery import Strategy
from wavelet.v1.containers_pb2 import ContainerConfig, ResolveRequest

STRATEGIES = tuple(filter(None, get_args(Strategy)))

FLAGS = package_options.FLAGS | {
    "containerImage": "--image",
    "containerFile": "--containerfile",
    "condaFile": "--conda-file",
    "name": "--name",
    "platforms": "--platform",
    "refresh": "--refresh",
    "containerIncludes": "--include",
    "packs": "--pack",
    "labels": "--label",
    "containerConfig": "--config-file",
    "containerConfig.layers": "--layer",
    "containerConfig.env": "--config-env",
    "containerConfig.cmd": "--config-cmd",
    "containerConfig.entrypoint": "--config-entrypoint",
    "containerConfig.workingDir": "--config-working-dir",
    "buildRepository": "--build-repo",
    "cacheRepository": "--cache-repo",
    "nameStrategy": "--name-strategy",
    "freeze": "--freeze",
    "mirror": "--mirror",
    "format": "--singularity",
    "packages": "--conda-package",
}
"""The options that members of the request come from."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare what a request is made of."""
    what = parser.add_argument_group("what the container is made of")
    what.add_argument("-i", "--image", metavar="NAME", help="an image of a registry")
    what.add_argument("-f", "--containerfile", metavar="FILE", help="a container file that installs conda packages")
    what.add_argument("--name", metavar="NAME", help="a name as engines would pull it, e.g. conda/samtools:1.17")
    package_options.add_options(what, entries=True)
    added = parser.add_argument_group("what is added to it")
    added.add_argument(
        "--layer", metavar="DIR", type=Path, action="append", default=[], help="the files below DIR; repeat"
    )
    added.add_argument("--include", metavar="NAME", action="append", default=[], help="the layers of an image; repeat")
    add_rules_options(added)
    added.add_argument("--config-env", metavar="NAME=VALUE", action="append", default=[], help="a variable; repeat")
    added.add_argument(
        "--config-cmd", metavar="WORD", action="append", default=[], help="the command; repeat for each word"
    )
    added.add_argument(
        "--config-entrypoint", metavar="WORD", action="append", default=[], help="the entry point; repeat for each word"
    )
    added.add_argument("--config-working-dir", metavar="PATH", help="the working directory")
    added.add_argument("--config-file", metavar="FILE", help="all of that as JSON: Wave's ContainerConfig")
    how = parser.add_argument_group("how it is made")
    how.add_argument(
        "--platform",
        metavar="NAME",
        action="append",
        default=[],
        help="e.g. linux/arm64 (linux/amd64); several make an index",
    )
    how.add_argument("--refresh", action="store_true", help="solve for packages anew, whatever was settled before")
    how.add_argument("--dry-run", action="store_true", help="only say the name, and keep the request; no image is made")
    _add_delivery(parser)


def add_rules_options(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Declare the packs of the node, and the labels that the request itself carries."""
    parser.add_argument(
        "--pack", metavar="NAME[@VERSION]", action="append", default=[],
        help="a pack of the node, as `wavelet pack list` has it; repeat",
    )  # fmt: skip
    parser.add_argument(
        "--label", metavar="NAME=VALUE", type=label, action="append", default=[],
        help="a label of the request, for rules of the site; repeat",
    )  # fmt: skip


def _add_delivery(parser: argparse.ArgumentParser) -> None:
    where = parser.add_argument_group("where it goes")
    where.add_argument("-F", "--freeze", action="store_true", help="give it a name that lasts")
    where.add_argument("-m", "--mirror", action="store_true", help="copy the image unchanged to --build-repo")
    where.add_argument(
        "--build-repo", "--build-repository", metavar="NAME", default="",
        help="the repository to push a frozen image to (the site's, else none); the registry to mirror to",
    )  # fmt: skip
    where.add_argument(
        "--cache-repo", "--cache-repository", metavar="NAME", default="",
        help="where layers of frozen packages are looked for before they are made",
    )  # fmt: skip
    where.add_argument("--name-strategy", choices=STRATEGIES, default="", help="how a frozen image is named")
    where.add_argument(
        "-s", "--singularity", action="store_true",
        help="for Singularity or Apptainer: a SIF, by a name that begins with oras://",
    )  # fmt: skip


def request_of(options: argparse.Namespace) -> ResolveRequest:
    """Return the request.

    Raises:
        InvalidRequest: there is nothing to make a container from, or more than one thing; a file cannot be used.
        TooLarge: a layer does not fit.
    """
    request = ResolveRequest(
        platforms=[name.strip() for text in options.platform for name in text.split(",") if name.strip()],
        container_includes=options.include,
        packs=options.pack,
        labels=dict(options.label),
        dry_run=options.dry_run,
        refresh=options.refresh,
        build_repository=options.build_repo,
        cache_repository=options.cache_repo,
        name_strategy=options.name_strategy,
        freeze=options.freeze,
        mirror=options.mirror,
        format="sif" if options.singularity else "",
    )
    _set_source(request, options)
    config = _config(options)
    if config.ByteSize():
        request.container_config.CopyFrom(config)
    return request


def _set_source(request: ResolveRequest, options: argparse.Namespace) -> None:
    wants_packages = bool(options.conda_package or (options.conda_file and not options.containerfile))
    named = [options.image, options.containerfile, options.name, wants_packages]
    if sum(map(bool, named)) != 1:
        message = "give one of --image, --containerfile, --name and --conda-package or --conda-file, and only one"
        raise InvalidRequest(f"{message}: that is what the container is made of")
    if options.image:
        request.container_image = options.image
    elif options.name:
        request.name = options.name
    elif options.containerfile:
        request.container_file = text_of(options.containerfile, "--containerfile")
        if options.conda_file:
            request.conda_file = text_of(options.conda_file, "--conda-file")
    else:
        request.packages.CopyFrom(package_options.packages_of(options))


def _config(options: argparse.Namespace) -> ContainerConfig:
    config = _config_file(options.config_file) if options.config_file else ContainerConfig()
    given = ContainerConfig(
        entrypoint=options.config_entrypoint, cmd=options.config_cmd, working_dir=options.config_working_dir or ""
    )
    if given.entrypoint:
        config.ClearField("entrypoint")
    if given.cmd:
        config.ClearField("cmd")
    config.MergeFrom(given)  # it joins lists, and replaces all else
    config.env.extend(options.config_env)
    try:
        config.layers.extend(pack_all(options.layer))
    except OSError as error:
        raise InvalidRequest(f"--layer: {error.filename} cannot be read: {error.strerror}") from None
    return config


def _config_file(name: str) -> ContainerConfig:
    try:
        return ParseDict(json.loads(text_of(name, "--config-file")), ContainerConfig())
    except (ValueError, ParseError, RecursionError) as error:
        raise InvalidRequest(f"--config-file: {name} is not a container configuration: {error}") from None
