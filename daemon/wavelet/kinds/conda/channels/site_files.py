"""The configuration of channels in this machine's files: read as the daemon's user, and again when one has changed.

What reads blocks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import structlog

from wavelet import plain_files
from wavelet.config import Conda
from wavelet.errors import InvalidRequest
from wavelet.kinds.conda.channels import condarc
from wavelet.kinds.conda.channels.logins import ChannelLogins, Held, LoginFileError, parse_rattler, read_netrc
from wavelet.kinds.conda.channels.names import ChannelNames

SIZE_LIMIT = 1024 * 1024
"""Bytes of one file; real ones have a few hundred."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Site:
    """Names, logins, and the state of the files that both were read from."""

    names: ChannelNames
    logins: ChannelLogins
    version: str


def load(settings: Conda, environment: Mapping[str, str], admitted: Iterable[str], *, alone: bool) -> Site:
    """Read all files. What cannot be used is logged by its file's name, and left out.

    `alone` says that nobody but the daemon's own user can ask.

    Raises:
        ConfigError: a setting is wrong.
    """
    home = Path(environment.get("HOME") or Path.home())
    files = _files(environment, home)
    version = fingerprint(environment)
    texts = [(path, text) for path in condarc.paths(environment, home) if (text := _read(path)) is not None]
    merged, wrong = condarc.merge(texts, environment)
    for path, why in wrong:
        _unusable(path, why)
    names = ChannelNames(settings, merged, alone=alone)
    for key in names.unusable:
        _log.warning("a value of .condarc is not a channel", key=key)
    for url in admitted:
        try:
            names.admit(url)
        except InvalidRequest:
            _log.warning("a configured index is not a URL, and gets no login")
    return Site(names, ChannelLogins([*_rattler(files.rattler), *_netrc(files.netrc), *names.held]), version)


def fingerprint(environment: Mapping[str, str]) -> str:
    """Return a text that changes when one of the files does."""
    home = Path(environment.get("HOME") or Path.home())
    files = _files(environment, home)
    seen: list[str] = []
    for path in (*condarc.paths(environment, home), *files.rattler, files.netrc):
        try:
            status = path.stat()
        except OSError:
            continue
        seen.append(f"{path} {status.st_ino} {status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}")
    return "\n".join(seen)


@dataclass(frozen=True, slots=True)
class _Files:
    rattler: tuple[Path, ...]
    netrc: Path


def _files(environment: Mapping[str, str], home: Path) -> _Files:
    named = environment.get("RATTLER_AUTH_FILE")
    own = home / ".rattler/credentials.json"
    return _Files((Path(named), own) if named else (own,), Path(environment.get("NETRC") or home / ".netrc"))


def _rattler(paths: Iterable[Path]) -> list[Held]:
    """Read rattler's files; what the first one has of a host goes before the second one's."""
    found: dict[tuple[str, str], Held] = {}
    for path in paths:
        text = _read(path)
        try:
            for one in [] if text is None else parse_rattler(text):
                found.setdefault((one.host, one.path), one)
        except LoginFileError as error:
            _unusable(path, str(error))
    return list(found.values())


def _netrc(path: Path) -> list[Held]:
    try:
        return read_netrc(path) if path.is_file() else []
    except LoginFileError as error:
        _unusable(path, str(error))
    except OSError as error:
        _unusable(path, error.strerror or "it cannot be read")
    return []


def _read(path: Path) -> str | None:
    """Return a file's text; None if there is none that can be used."""
    try:
        if not path.is_file():
            return None
        return plain_files.read(path, SIZE_LIMIT, follow=True)[0].decode("utf-8")
    except OSError as error:
        _unusable(path, error.strerror or "it cannot be read")
    except UnicodeDecodeError:
        _unusable(path, "it is not text")
    return None


def _unusable(path: Path, why: str) -> None:
    _log.warning("a file about channels cannot be used", file=str(path), because=why)
