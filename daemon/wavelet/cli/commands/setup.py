"""`wavelet setup`: tells engines that the daemon on this machine speaks plain http, and takes it back.

Podman and Apptainer expect https of every registry, `127.0.0.1` too. They read the same file, registries.conf, of which
a user's own takes the place of the system's: so what is written is a drop-in, beside which all else counts as before.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from wavelet.cli.doctor import facts, registries_conf
from wavelet.cli.subcommands import add_command
from wavelet.cli.user_daemon.daemon import location_of
from wavelet.config import Settings, Source
from wavelet.errors import InvalidRequest, NotStarted
from wavelet.upstream.addresses import is_loopback

ENGINES = ("apptainer", "podman")
"""What can be set up, by one and the same file; skopeo, buildah and Singularity read it too."""

PATTERN = "wavelet-*.conf"
MARK = "# Written by `wavelet setup`, and removed by `wavelet setup apptainer --undo`."
"""The first line of a file that is ours."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the commands below this one, and their arguments."""
    commands = parser.add_subparsers(required=True, metavar="ENGINE", dest="engine")
    for engine in ENGINES:
        command = add_command(commands, engine, f"let {engine} speak plain http with the daemon on this machine")
        command.add_argument("--system", action="store_true", help="for all users of this node, as root")
        command.add_argument(
            "--authority", metavar="HOST:PORT", help="the daemon, as in image names (that which answers, or is set)"
        )
        command.add_argument("--config", metavar="FILE", type=Path, help="the daemon's file of settings")
        command.add_argument("--undo", action="store_true", help="remove what this command has written")
        command.add_argument("-n", "--dry-run", action="store_true", help="only show what would be written or removed")


def run(options: argparse.Namespace) -> int:
    """Write the entry, or remove it.

    Raises:
        ConfigError: the settings cannot be used.
        InvalidRequest: the address is not of this machine, or somebody's own entry for it says otherwise.
        NotStarted: a file cannot be read, written or removed.
    """
    system = (registries_conf.SYSTEM_DROP_INS,)
    folders = system if options.system else registries_conf.user_drop_ins(os.environ)
    if options.undo:
        return _undo(folders, dry=options.dry_run)
    authority = options.authority or _authority(options)
    _check_address(authority)
    seen = registries_conf.of_system() if options.system else registries_conf.of_user(os.environ)
    if others := _said_by_others(seen, authority):
        sys.stdout.write(f"{others} has it already: engines speak http with {authority}\n")
        return 0
    text = text_for(authority)
    for path in (folder / name_for(authority) for folder in folders):
        if options.dry_run:
            sys.stdout.write(f"# {path}\n{text}\n")
        else:
            _write(path, text)
            sys.stdout.write(f"{path}\n")
    return 0


def text_for(authority: str) -> str:
    """Return the drop-in for a daemon."""
    entry = f'[[registry]]\nlocation = "{authority}"\ninsecure = true\n'
    return f"{MARK}\n# The daemon on this machine speaks plain http.\n{entry}"


def name_for(authority: str) -> str:
    """Return the file's name. It holds the address: a user's drop-in hides the system's of the same name."""
    return PATTERN.replace("*", re.sub(r"[^\w.]+", "-", authority))


def _authority(options: argparse.Namespace) -> str:
    """Return what `wavelet doctor` judges engines by: the daemon that serves this user, else what the settings say."""
    settings: Settings = Source(options.config, os.environ, {}).read()
    if options.system:
        return settings.name_authority
    seen = facts.daemon(location_of(os.environ), facts.node_address(settings), os.environ)
    return seen.status["authority"] if seen.status else settings.name_authority


def _check_address(authority: str) -> None:
    found = re.fullmatch(r"([\w.-]+):(\d{1,5})", authority)
    if found is None:
        raise InvalidRequest(f"--authority: {authority!r} is not HOST:PORT as in image names, e.g. 127.0.0.1:9090")
    if not is_loopback(found[1]):
        raise InvalidRequest(
            f"--authority: {found[1]} is not this machine, and whoever is in between could change what is pulled; "
            "give the daemon a TLS listener (tls.listen), or write the entry of registries.conf yourself"
        )


def _said_by_others(seen: registries_conf.Registries, authority: str) -> Path | None:
    """Return the file that is not ours in which the entry is, if one has it.

    Raises:
        InvalidRequest: the entry that is there is without `insecure`. A second one would replace it with all it says.
        NotStarted: engines fail on a file, whatever else is written.
    """
    for path, why in seen.unreadable:
        raise NotStarted(f"{path} cannot be used, and engines end with an error for it: {why}")
    found = seen.of(authority)
    if found is None or _is_ours(found.file):
        return None
    if not found.registry.insecure:
        raise InvalidRequest(
            f"{found.file} has an entry for {authority} already, which a second one would replace with all that it "
            "says; add the line `insecure = true` to it"
        )
    return found.file


def _is_ours(path: Path) -> bool:
    try:
        return path.match(PATTERN) and path.is_file() and path.read_text("utf-8", "replace").startswith(MARK)
    except OSError as error:
        raise NotStarted(f"{path} cannot be read: {error.strerror}") from None


def _written(folders: tuple[Path, ...]) -> Iterator[Path]:
    for folder in folders:
        yield from (path for path in sorted(folder.glob(PATTERN)) if _is_ours(path))


def _undo(folders: tuple[Path, ...], *, dry: bool) -> int:
    """Remove what was written for any address: the settings may have changed since."""
    found = list(_written(folders))
    if not found:
        sys.stdout.write(f"nothing to remove in {' or '.join(str(each) for each in folders)}\n")
    for path in found:
        try:
            if not dry:
                path.unlink()
        except OSError as error:
            raise NotStarted(f"{path} cannot be removed: {error.strerror}{_hint(error)}") from None
        sys.stdout.write(f"{'# ' if dry else 'removed '}{path}\n")
    return 0


def _write(path: Path, text: str) -> None:
    """Put the file there whole: engines may be reading the directory."""
    with contextlib.suppress(OSError):
        if path.read_text("utf-8") == text:
            return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=".wavelet-", dir=path.parent)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
            Path(name).chmod(0o644)
            Path(name).replace(path)
        except OSError:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise NotStarted(f"{path} cannot be written: {error.strerror}{_hint(error)}") from None


def _hint(error: OSError) -> str:
    return "; --system needs root" if isinstance(error, PermissionError) else ""
