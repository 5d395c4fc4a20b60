"""`wavelet install-service`: the units of systemd, as they come with wavelet and as this machine's settings need them.

What is written is pure (`files_for`); the command writes it, or takes it back, and tells systemd.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from wavelet.cli.shipped_files import shipped_directory
from wavelet.config import Settings, Source
from wavelet.errors import EngineFailed, InvalidRequest, NotStarted

STEP_LIMIT = 120.0
"""Seconds for one of systemd's commands; a stop waits for transfers (`TimeoutStopSec=` is 75)."""

SYSTEM_UNITS = "etc/systemd/system"
PATHS = "wavelet.service.d/paths.conf"
"""The drop-in that lets the daemon write where its settings say: `ProtectSystem=strict` keeps it from all else."""

_PLACES = {
    "wavelet.service": f"{SYSTEM_UNITS}/wavelet.service",
    "wavelet.socket": f"{SYSTEM_UNITS}/wavelet.socket",
    "wavelet-grpc.socket": f"{SYSTEM_UNITS}/wavelet-grpc.socket",
    "wavelet-admin.socket": f"{SYSTEM_UNITS}/wavelet-admin.socket",
    "wavelet.sysusers": "etc/sysusers.d/wavelet.conf",
    "wavelet.tmpfiles": "etc/tmpfiles.d/wavelet.conf",
}
_COMMAND = re.compile(r"\bwavelet serve\b")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("--user", action="store_true", help="for this user alone, without root")
    parser.add_argument("--config", metavar="FILE", type=Path, help="the settings that the unit will run with")
    parser.add_argument("--root", metavar="DIR", type=Path, default=Path("/"), help="a root directory to write to (/)")
    parser.add_argument("--now", action="store_true", help="enable and start it too")
    parser.add_argument("--undo", action="store_true", help="stop it, and remove what was written")
    parser.add_argument("-n", "--dry-run", action="store_true", help="only show what would be written or removed")


def run(options: argparse.Namespace) -> int:
    """Write the units, or remove them.

    Raises:
        ConfigError: the settings cannot be used.
        NotStarted: a file cannot be written or removed.
        EngineFailed: systemd refuses.
    """
    base = _user_units() if options.user else options.root
    command = _this_command()
    # What is taken back is the same whatever the settings are now.
    settings = Settings() if options.undo else Source(options.config, os.environ, {}).read()
    config = options.config
    files = user_files(command, config) if options.user else files_for(settings, command, config)
    if options.dry_run:
        for path, text in files.items():
            sys.stdout.write(f"# {base / path}\n{'' if options.undo else text}\n")
        return 0
    live = Path("/run/systemd/system").is_dir() and (options.user or options.root == Path("/"))
    if options.undo:
        _systemctl(options, live, [["disable", "--now", "wavelet.service"]], check=False)
        # The settings may have changed since: what they ask for now does not say what was written.
        _remove(base, files if options.user else dict.fromkeys([*files, f"{SYSTEM_UNITS}/{PATHS}"]))
        _systemctl(options, live, [["daemon-reload"]])
        return 0
    drop_in = f"{SYSTEM_UNITS}/{PATHS}"
    _remove(base, [] if options.user or drop_in in files else [drop_in])  # of earlier settings
    _write(base, files)
    _make_state(settings, options)
    if live and not options.user:
        _call(["systemd-sysusers"])
        _call(["systemd-tmpfiles", "--create"])
    _systemctl(options, live, [["daemon-reload"], *([["enable", "--now", "wavelet.service"]] if options.now else [])])
    if not (options.now and live):
        scope = " --user" if options.user else ""
        sys.stdout.write(f"start it: systemctl{scope} enable --now wavelet.service\n")
    return 0


def files_for(settings: Settings, command: str, config: Path | None) -> dict[str, str]:
    """Return text of each file of the node's service, by its path below the root directory.

    Args:
        settings: those that the unit will run with.
        command: the `wavelet` that it runs, by an absolute path.
        config: its file of settings, where it is not the usual one.
    """
    serve = _serve(command, config)
    source = shipped_directory("systemd")
    files = {place: (source / name).read_text() for name, place in _PLACES.items()}
    unit = f"{SYSTEM_UNITS}/wavelet.service"
    files[unit] = _COMMAND.sub(lambda _: serve, files[unit], count=1)
    if writable := list(written_to(settings)):
        lines = "".join(f"ReadWritePaths={_quoted(str(path))}\n" for path in writable)
        files[f"{SYSTEM_UNITS}/{PATHS}"] = f"# Where the settings say that the daemon writes.\n[Service]\n{lines}"
    return files


def _serve(command: str, config: Path | None) -> str:
    return f"{command} serve" + (f" --config {_quoted(str(config.resolve()))}" if config is not None else "")


def _quoted(text: str) -> str:
    """Return a path as units write it (systemd.syntax(7)); `%` begins a specifier there."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"' if re.search(r"[\s\"'\\]", text) else escaped


def user_files(command: str, config: Path | None) -> dict[str, str]:
    """Return the text of a user's own unit, by its name.

    Raises:
        InvalidRequest: the settings file has a name that the unit's shell would read otherwise.
    """
    if config is not None and not re.fullmatch(r"[\w./+-]+", str(config.resolve())):
        raise InvalidRequest(f"--config: {config.resolve()} has more than letters, digits and ._+-/ in it; rename it")
    text = (shipped_directory("systemd") / "user" / "wavelet.service").read_text()
    return {"wavelet.service": _COMMAND.sub(lambda _: _serve(command, config), text, count=1)}


def written_to(settings: Settings) -> Iterator[Path]:
    """Yield where the settings have the daemon write, beside its usual directories and what is below others."""
    named: list[str | Path] = [settings.state, settings.records.directory, settings.sif.directory]
    named += [str(Path(path).parent) for path in (settings.grpc.socket, settings.grpc.admin_socket) if path]
    usual = (Path("/var/lib/wavelet"), Path("/run/wavelet"))
    paths = tuple(dict.fromkeys(Path(each) for each in named if each))
    for path in paths:
        # A directory that the daemon will make, below one of these, is none that a unit may name.
        if path not in usual and not any(each in path.parents for each in (*usual, *paths)):
            yield path


def _this_command() -> str:
    """Return how this `wavelet` is called, by an absolute path: units have a search path of their own."""
    called = Path(sys.argv[0])
    return str(called.absolute()) if called.name == "wavelet" else f"{sys.executable} -m wavelet.cli.main"


def _user_units() -> Path:
    home = os.environ.get("XDG_CONFIG_HOME") or Path("~/.config").expanduser()
    return Path(home) / "systemd" / "user"


def _make_state(settings: Settings, options: argparse.Namespace) -> None:
    """Make the state directory that is named: a unit whose ReadWritePaths is not there does not start."""
    if options.user or not settings.state:
        return
    path = options.root / settings.state.lstrip("/")
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise NotStarted(f"state: {path} cannot be made: {error.strerror}") from None


def _write(base: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        path = base / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            path.chmod(0o644)
        except OSError as error:
            raise NotStarted(f"{path} cannot be written: {error.strerror}; be root, or say --user") from None
        sys.stdout.write(f"{path}\n")


def _remove(base: Path, files: Iterable[str]) -> None:
    for name in files:
        path = base / name
        try:
            path.unlink()
            if path.parent.name.endswith(".d") and path.name == Path(PATHS).name and not any(path.parent.iterdir()):
                path.parent.rmdir()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise NotStarted(f"{path} cannot be removed: {error.strerror}") from None
        sys.stdout.write(f"removed {path}\n")


def _systemctl(options: argparse.Namespace, live: bool, calls: list[list[str]], *, check: bool = True) -> None:
    scope = ["--user"] if options.user else []
    for call in calls if live else []:
        _call(["systemctl", *scope, *call], check=check)


def _call(command: list[str], *, check: bool = True) -> None:
    if shutil.which(command[0]) is None:
        raise EngineFailed(f"{command[0]} is not in PATH; the files are written, and systemd does not know of them yet")
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=STEP_LIMIT)  # noqa: S603
    except subprocess.TimeoutExpired:
        raise EngineFailed(f"{' '.join(command)} has not ended within {STEP_LIMIT:.0f} s; see journalctl") from None
    if check and done.returncode != 0:
        raise EngineFailed(f"{' '.join(command)} fails: {done.stderr.strip()}")
