"""`wavelet setup`: engines of this machine ask the daemon first for the names that users know; and takes it back.

What is written is planned by the engine's module (`cli/setup/`), shown or written here, and tried at the end.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path

from wavelet.cli.doctor import facts
from wavelet.cli.setup import apptainer, containerd, docker, files, kubernetes, podman
from wavelet.cli.setup.engine import Engine
from wavelet.cli.setup.plan import DEFAULT_REGISTRIES, Asked, Plan
from wavelet.cli.setup.verify import verify
from wavelet.cli.subcommands import add_command
from wavelet.cli.user_daemon.daemon import location_of
from wavelet.config import Settings, Source
from wavelet.errors import InvalidRequest, WaveletError
from wavelet.image.reference import looks_like_host, normalise, valid_host
from wavelet.upstream.addresses import is_loopback

ENGINES: Mapping[str, Engine] = {
    "docker": docker,
    "podman": podman,
    "containerd": containerd,
    "apptainer": apptainer,
    "kubernetes": kubernetes,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the commands below this one, and their arguments."""
    commands = parser.add_subparsers(required=True, metavar="ENGINE", dest="engine")
    for name, engine in ENGINES.items():
        command = add_command(commands, name, engine.SUMMARY)
        whose = command.add_mutually_exclusive_group()
        whose.add_argument(
            "--user", action="store_true", help="for this user alone (the default of podman and apptainer)"
        )
        whose.add_argument(
            "--system",
            action="store_true",
            help="for all users of this node, as root (the default of docker and containerd)",
        )
        command.add_argument(
            "--registry", metavar="HOST", action="append", help="whose names it is; several (docs/interception.md)"
        )
        command.add_argument(
            "--authority", metavar="HOST:PORT", help="the daemon, as in image names (that which answers, or is set)"
        )
        command.add_argument("--config", metavar="FILE", type=Path, help="the daemon's file of settings")
        command.add_argument("--root", metavar="DIR", type=Path, default=Path("/"), help="what stands for / (/)")
        command.add_argument("--undo", action="store_true", help="take back what this command has written")
        command.add_argument("-n", "--dry-run", action="store_true", help="only show what would be written or removed")
        engine.add_arguments(command)


def run(options: argparse.Namespace) -> int:
    """Set an engine up, or take it back.

    Raises:
        ConfigError: the settings cannot be used.
        InvalidRequest: the address is not of this machine, or somebody's own entry for it says otherwise.
        NotStarted: a file cannot be read, written or removed.
        EngineFailed: the engine does not get the daemon's image then.
    """
    engine = ENGINES[options.engine]
    asked = _asked(options)
    plan = engine.undo(asked) if options.undo else engine.plan(asked)
    for note in plan.notes:
        sys.stdout.write(f"{note}\n")
    sys.stdout.write(plan.output)
    _make(plan, dry=options.dry_run)
    if options.dry_run:
        return 0
    for said in engine.apply(asked, plan):
        sys.stdout.write(f"{said}\n")
    if not options.undo and asked.is_this_machine and (said := verify(asked.authority, engine.pulls(asked, plan))):
        print(f"wavelet: {said}", file=sys.stderr)
    return 0


def _make(plan: Plan, *, dry: bool) -> None:
    for change in plan.changes:
        if dry:
            sys.stdout.write(change.shown())
            continue
        if change.is_needed:
            files.make(change)
        sys.stdout.write(f"{'removed ' if change.after is None else ''}{change.path}\n")


def _asked(options: argparse.Namespace) -> Asked:
    """Return what the arguments say."""
    authority = options.authority or (_authority_for_undo(options) if options.undo else _authority(options))
    if not options.undo:
        _check_address(authority)
    return Asked(
        authority=authority,
        registries=tuple(dict.fromkeys(_registry(each) for each in options.registry or DEFAULT_REGISTRIES)),
        of_node=_is_of_node(options),
        root=options.root.absolute(),
        environment=os.environ,
        mirror=getattr(options, "mirror", False),
        image=getattr(options, "image", None) or "",
        file=getattr(options, "file", None),
    )


def _is_of_node(options: argparse.Namespace) -> bool:
    return bool(options.system or (ENGINES[options.engine].OF_NODE and not options.user))


def _authority(options: argparse.Namespace) -> str:
    """Return what `wavelet doctor` judges engines by: the daemon that serves this user, else what the settings say."""
    settings: Settings = Source(options.config, os.environ, {}).read()
    if _is_of_node(options):
        return settings.name_authority
    seen = facts.daemon(location_of(os.environ), facts.node_address(settings), os.environ)
    return seen.status["authority"] if seen.status else settings.name_authority


def _authority_for_undo(options: argparse.Namespace) -> str:
    """Return the same; what was written is found without it, but where somebody has formatted a file anew."""
    with contextlib.suppress(WaveletError):
        return _authority(options)
    return ""


def _check_address(authority: str) -> None:
    found = re.fullmatch(r"([\w.-]+):(\d{1,5})", authority)
    if found is None:
        raise InvalidRequest(f"--authority: {authority!r} is not HOST:PORT as in image names, e.g. 127.0.0.1:9090")
    if not is_loopback(found[1]):
        raise InvalidRequest(
            f"--authority: {found[1]} is not this machine, and whoever is in between could change what is pulled; "
            "give the daemon a TLS listener (tls.listen), or write the engine's entry yourself"
        )


def _registry(host: str) -> str:
    """Return a registry as it stands in image names; containerd has one for all that have none of their own.

    Raises:
        InvalidRequest: it is no host.
    """
    if host == containerd.DEFAULT:
        return host
    if not looks_like_host(host) or not valid_host(host):
        raise InvalidRequest(f"--registry: {host!r} is not a registry's host as in image names, e.g. quay.io")
    return normalise(host.lower(), "a/b")[0]
