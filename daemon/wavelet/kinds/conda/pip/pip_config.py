"""Package indexes and their logins as pip's configuration has them: its files, and `PIP_…` variables over them.

The same places as pip's (user guide, "Configuration"): the machine's, the user's, the Python environment's, and
`PIP_CONFIG_FILE`. Only what says where packages come from is read. Logins stay in these values: what else leaves this
file has none.
"""

from __future__ import annotations

import configparser
import os
import sys
import urllib.parse
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from wavelet import plain_files
from wavelet.config import ConfigError

SIZE_LIMIT = 1024 * 1024
"""Bytes of a file of settings; real ones have a few hundred."""

_PREFIX = "PIP_"
_SECTIONS = ("global", "install")
_TRUE = frozenset({"1", "true", "yes", "y", "t", "on"})


@dataclass(frozen=True, slots=True)
class PipConfig:
    """Where packages come from.

    Attributes:
        index: URL of the main index, with its login; empty for the resolver's own default.
        more_indexes: URLs of further indexes, with their logins.
        find_links: directories (absolute) and URLs of pages, with their logins, that wheels are linked from.
        no_index: whether only `find_links` counts.
        certificates: PEM file of the authorities to trust; empty for the system's.
        client_certificate: PEM file with the daemon's own certificate and key.
        trusted_hosts: hosts, with ports or without, whose certificates are not checked.
        proxy: URL of the proxy for everything, with its login.
    """

    index: str = field(default="", repr=False)
    more_indexes: tuple[str, ...] = field(default=(), repr=False)
    find_links: tuple[str, ...] = field(default=(), repr=False)
    no_index: bool = False
    certificates: str = ""
    client_certificate: str = ""
    trusted_hosts: tuple[str, ...] = ()
    proxy: str = field(default="", repr=False)

    @property
    def urls(self) -> tuple[str, ...]:
        """Everything that wheels come from, with logins."""
        indexes = () if self.no_index else (self.index, *self.more_indexes)
        return tuple(url for url in (*indexes, *self.find_links) if "://" in url)

    @property
    def directories(self) -> tuple[Path, ...]:
        """Directories of this machine that wheels may come from."""
        local = [Path(_path_of(url)) for url in self.urls if url.startswith("file://")]
        return (*(Path(link) for link in self.find_links if "://" not in link), *local)

    def with_links(self, find_links: tuple[str, ...]) -> PipConfig:
        """Return the same with other links."""
        return replace(self, find_links=find_links)

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must never be shown, as it is written and as it is meant."""
        parts = [urllib.parse.urlsplit(url) for url in (*self.urls, self.proxy)]
        # A login without a password is a token.
        written = [part.password or part.username for part in parts]
        return tuple({form for text in written if text for form in (text, urllib.parse.unquote(text))})


def read(environment: Mapping[str, str], python_prefix: str = sys.prefix) -> PipConfig:
    """Return what pip's configuration says. Blocks.

    Raises:
        ConfigError: a file that is there cannot be read or is no configuration of pip's, or a URL is malformed.
    """
    sections: dict[str, dict[str, str]] = {section: {} for section in _SECTIONS}
    for path in _files(environment, python_prefix):
        for section, values in _read_file(path).items():
            sections[section] |= values
    options = sections["global"] | sections["install"]
    for name, value in environment.items():
        if name.startswith(_PREFIX) and value:
            options[_normal(name.removeprefix(_PREFIX))] = value
    return _of_options(options, environment)


def _files(environment: Mapping[str, str], python_prefix: str) -> Iterable[Path]:
    """Yield the files in pip's order, the last with precedence; none where `PIP_CONFIG_FILE` is the null device."""
    named = environment.get("PIP_CONFIG_FILE", "")
    if named == os.devnull:
        return
    home = Path(environment.get("HOME") or Path.home())
    for directory in (environment.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(":"):
        yield Path(directory) / "pip" / "pip.conf"
    yield Path("/etc/pip.conf")
    yield home / ".pip" / "pip.conf"
    yield Path(environment.get("XDG_CONFIG_HOME") or home / ".config") / "pip" / "pip.conf"
    yield Path(python_prefix) / "pip.conf"
    if named:
        yield Path(named)


def _read_file(path: Path) -> dict[str, dict[str, str]]:
    parser = configparser.RawConfigParser()
    try:
        if not path.is_file():
            return {}
        parser.read_string(plain_files.read(path, SIZE_LIMIT, follow=True)[0].decode(), str(path))
    except (OSError, UnicodeDecodeError, configparser.Error) as error:
        # The error's own words can quote a line, and with it a login.
        raise ConfigError(f"{path}: pip's configuration cannot be read ({type(error).__name__})") from None
    return {
        section: {_normal(name): value for name, value in parser.items(section) if value}
        for section in _SECTIONS
        if parser.has_section(section)
    }


def _normal(name: str) -> str:
    return name.lower().replace("_", "-").removeprefix("--")


def _of_options(options: Mapping[str, str], environment: Mapping[str, str]) -> PipConfig:
    config = PipConfig(
        index=options.get("index-url", "").strip(),
        more_indexes=tuple(options.get("extra-index-url", "").split()),
        find_links=tuple(_link(link) for link in options.get("find-links", "").split()),
        no_index=options.get("no-index", "").strip().lower() in _TRUE,
        certificates=options.get("cert", "").strip() or environment.get("REQUESTS_CA_BUNDLE", ""),
        client_certificate=options.get("client-cert", "").strip(),
        trusted_hosts=tuple(options.get("trusted-host", "").split()),
        proxy=options.get("proxy", "").strip(),
    )
    for url in (*config.urls, config.proxy):
        _check(url)
    return config


def _check(url: str) -> None:
    try:
        _ = urllib.parse.urlsplit(url).port
    except ValueError:
        raise ConfigError("pip's configuration names an index, a page of links or a proxy by a malformed URL") from None


def _link(link: str) -> str:
    return link if "://" in link else str(Path(link).expanduser().absolute())


def _path_of(url: str) -> str:
    return urllib.parse.unquote(urllib.parse.urlsplit(url).path)
