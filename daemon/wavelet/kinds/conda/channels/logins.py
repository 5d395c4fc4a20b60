"""Logins for channels: how rattler's file, a netrc file and URLs of the site's own configuration hold them, and which
one a URL gets. Pure.

A login goes to the host that it is for and to no other. Over plain http it goes only where the site itself has named
that address, or to loopback: whoever names an http URL in a request must not make the daemon send a secret in the open.
"""

from __future__ import annotations

import netrc
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

import msgspec
from yarl import URL

from wavelet import foreign_json
from wavelet.foreign_json import ForeignJsonError
from wavelet.plan.tokens import Login
from wavelet.upstream.addresses import is_loopback
from wavelet.upstream.auth import basic

_TOKEN = re.compile(r"/t/([^/]+)(?=/|$)")


class LoginFileError(ValueError):
    """The file is not of its format; the message says why, without a value of it."""


class _Basic(msgspec.Struct):
    username: str
    password: str


class _Entry(msgspec.Struct):
    """One entry of rattler's file; S3 and OAuth entries have none of these members."""

    bearer: str | None = msgspec.field(default=None, name="BearerToken")
    conda: str | None = msgspec.field(default=None, name="CondaToken")
    basic: _Basic | None = msgspec.field(default=None, name="BasicHTTP")


@dataclass(frozen=True, slots=True)
class ChannelLogin:
    """How a request shows who asks.

    Attributes:
        authorization: the `Authorization` header.
        token: a conda token, which goes into the path as `/t/<token>`, behind the path `below`.
    """

    authorization: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    below: str = ""

    def applied(self, url: URL) -> URL:
        """Return `url` with the token in its path, if it takes one."""
        path = url.raw_path
        if self.token is None or not path.startswith(self.below):
            return url
        with_token = f"{self.below}/t/{self.token}{path[len(self.below) :]}"
        return url.with_path(with_token, encoded=True, keep_query=True)


@dataclass(frozen=True, slots=True)
class Held:
    """A login and what it is for.

    Attributes:
        host: `host`, `host:port` or `*.host`, in lower case.
        path: only what is at or below it; without a slash at its end.
        site_only: only where the site's own configuration has named the server.
    """

    host: str
    login: ChannelLogin
    path: str = ""
    site_only: bool = False

    def fits(self, url: URL) -> bool:
        """Tell whether the login is for `url`."""
        host = (url.host or "").lower()
        if self.host.startswith("*."):
            fits = host == self.host[2:] or host.endswith(self.host[1:])
        else:
            fits = self.host in (host, f"{host}:{url.port}", url.host_subcomponent, url.host_port_subcomponent)
        return fits and (not self.path or f"{url.raw_path}/".startswith(f"{self.path}/"))


class ChannelLogins:
    """All logins that there are for channels."""

    def __init__(self, held: Iterable[Held]) -> None:
        # The nearest fits first: the longer path, then a host before a pattern, then the longer name.
        self._held = sorted(held, key=lambda one: (-len(one.path), one.host.startswith("*."), -len(one.host)))

    def find(self, url: URL, *, site: bool) -> ChannelLogin | None:
        """Return the login for a URL; `site` says whether the site's own configuration has named its server."""
        if url.scheme != "https" and not site and not is_loopback(url.host or ""):
            return None
        return next((one.login for one in self._held if one.fits(url) and (site or not one.site_only)), None)


def take_login(text: str) -> tuple[str, Held | None]:
    """Split a URL into itself without a login, and the login that it has: user and password, or a conda token.

    Raises:
        ValueError: not a URL.
    """
    parts = urlsplit(text)
    user, at, host = parts.netloc.rpartition("@")
    token = _TOKEN.search(parts.path)
    path = parts.path[: token.start()] + parts.path[token.end() :] if token else parts.path
    bare = urlunsplit((parts.scheme, host, path, parts.query, parts.fragment))
    if not at and token is None:
        return bare, None
    name, _, password = user.partition(":")
    shown = basic(Login(unquote(name), unquote(password))) if at else None
    login = ChannelLogin(shown, token[1], path[: token.start()]) if token else ChannelLogin(shown)
    return bare, Held(host.lower(), login, path.rstrip("/"))


def parse_rattler(text: str) -> list[Held]:
    """Read rattler's file: JSON, by host or `*.host` (pixi's documentation, "Authentication").

    Raises:
        LoginFileError: not of that format.
    """
    try:
        entries = foreign_json.each_value(foreign_json.decode(text.encode(), dict[str, object]), _Entry)
    except ForeignJsonError as error:
        raise LoginFileError(f"it is not a file of rattler's logins ({error})") from None
    return [one for key, entry in entries.items() for one in _of_rattler(key, entry)]


def _of_rattler(key: str, entry: _Entry) -> Iterator[Held]:
    host, _, path = key.partition("://")[2].partition("/") if "://" in key else key.partition("/")
    place = f"/{path.strip('/')}" if path.strip("/") else ""
    if entry.bearer:
        yield Held(host.lower(), ChannelLogin(f"Bearer {entry.bearer}"), place)
    elif entry.conda:
        yield Held(host.lower(), ChannelLogin(token=entry.conda), place)
    elif entry.basic is not None:
        login = Login(entry.basic.username, entry.basic.password)
        yield Held(host.lower(), ChannelLogin(basic(login)), place)


def read_netrc(path: Path) -> list[Held]:
    """Read a netrc file. Blocks. Its `default` entry is left out, which would go to every host.

    What it holds is for much besides channels: only a server that the site has named for channels gets any of it.

    Raises:
        LoginFileError: not of that format, or open to others.
        OSError: it cannot be read.
    """
    try:
        entries = netrc.netrc(path).hosts
    except netrc.NetrcParseError as error:
        raise LoginFileError(f"it is not a netrc file (line {error.lineno})") from None
    except UnicodeDecodeError:
        raise LoginFileError("it is not text") from None
    return [
        Held(host.lower(), ChannelLogin(basic(Login(user, password))), site_only=True)
        for host, (user, _, password) in entries.items()
        if host != "default" and password
    ]
