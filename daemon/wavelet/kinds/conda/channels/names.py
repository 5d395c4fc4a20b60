"""Channels by name: which URL a name stands for, which channels may be used, and where each is asked for. Pure.

A channel's own URL stands in plans, locks and records, whatever mirror answers for it, and it never holds a login.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from yarl import URL

from wavelet.config import Conda, ConfigError
from wavelet.errors import AccessRefused, InvalidRequest
from wavelet.kinds.conda.channels.condarc import Condarc
from wavelet.kinds.conda.channels.logins import Held, take_login

CONDA_ALIAS = "https://conda.anaconda.org"
"""Where a channel is that is named without a URL, if nothing else is said (conda's documentation, `channel_alias`)."""

DEFAULT_CHANNELS = ("https://repo.anaconda.com/pkgs/main", "https://repo.anaconda.com/pkgs/r")
"""What `defaults` stands for, likewise (`default_channels`)."""

_CUSTOM = {"pkgs": "https://repo.anaconda.com"}
_LONGEST = 2048
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*(/[A-Za-z0-9_.+-]+)*")
_HOST = re.compile(r"[a-z0-9_]([a-z0-9._-]*[a-z0-9_])?\.?|[0-9a-f:.]*:[0-9a-f:.]*")
_ALLOWED = "conda.allowed_channels"


@dataclass(frozen=True, slots=True)
class Chosen:
    """The channels of a request: their URLs in order, each once, and sentences for whoever has asked."""

    urls: tuple[str, ...]
    warnings: tuple[str, ...] = ()


class ChannelNames:
    """What the settings and `.condarc` say of channels, read once.

    Attributes:
        held: the logins that URLs of `.condarc` had.
        site: the origins of all servers that the site itself has named.
        unusable: what of `.condarc` could not be used, without its values.
    """

    def __init__(self, settings: Conda, condarc: Condarc, *, alone: bool) -> None:
        """Read both. `alone` says that those who ask may read all that the daemon may.

        Raises:
            ConfigError: a setting is no channel or URL; it is named.
        """
        self.held: list[Held] = []
        self.site: set[str] = set()
        self.unusable: list[str] = []
        self._settings = settings
        self._alone = alone
        self._custom = {**_CUSTOM, **self._of_condarc("custom_channels", condarc.custom_channels.items())}
        self._alias = CONDA_ALIAS
        if settings.channel_alias:
            self._alias = self._of_setting("conda.channel_alias", settings.channel_alias)
        elif condarc.channel_alias:
            written = self._of_condarc("channel_alias", [("", condarc.channel_alias)])
            self._alias = written.get("", CONDA_ALIAS)
        defaults = [(name, name) for name in condarc.default_channels]
        self._defaults = tuple(self._of_condarc("default_channels", defaults).values()) or DEFAULT_CHANNELS
        self._allowed = [self._of_setting(_ALLOWED, text) for text in settings.allowed_channels]
        self._usual = {self._of_setting("conda.channels", text) for text in settings.channels}
        mirrors: dict[str, tuple[str, ...]] = {}
        for prefix, urls in settings.mirrors.items():
            found = tuple(self._of_setting("conda.mirrors", url) for url in urls)
            mirrors[self._of_setting("conda.mirrors", prefix)] = found
        for name, each in condarc.mirrored_channels.items():
            there = tuple(self._of_condarc("mirrored_channels", [(url, url) for url in each]).values())
            mirrors.setdefault(self.url_of(name), there)
        self._mirrors = sorted(mirrors.items(), key=lambda item: -len(item[0]))

    # -- what a request names -----------------------------------------------------------------------------------------

    def resolve(self, names: Iterable[str]) -> Chosen:
        """Return the URLs of the channels that a request names; see `Channels.resolve`."""
        urls: dict[str, None] = {}
        warnings: dict[str, None] = {}
        for name in names:
            if name.strip() == "defaults":
                if self._settings.defaults:
                    urls.update(dict.fromkeys(self._defaults))
                else:
                    warnings["the channel `defaults` is left out: its packages are not free for all to use, "
                             "and the setting conda.defaults does not allow it"] = None  # fmt: skip
            elif name.strip() != "nodefaults":
                urls[self.url_of(name.strip())] = None
        if not urls:
            urls = dict.fromkeys(self.url_of(name) for name in self._settings.channels)
        for url in urls:
            self._require(url, url)
        return Chosen(tuple(urls), tuple(warnings))

    def url_of(self, name: str) -> str:
        """Return the URL of one channel, by name, URL or absolute path.

        Raises:
            InvalidRequest: it is none, or holds a login.
        """
        if "://" in name or name.startswith("/"):
            return normal(name)
        if len(name) > _LONGEST or _NAME.fullmatch(name.rstrip("/")) is None or _climbs(name):
            raise _no_channel(name)
        if "t" in name.rstrip("/").split("/"):
            raise _has_login("a conda token")
        name = name.rstrip("/")
        near = [custom for custom in self._custom if f"{name}/".startswith(f"{custom}/")]
        return f"{self._custom[max(near, key=len)] if near else self._alias}/{name}"

    def check(self, package: str) -> None:
        """Return if packages of the channel that has `package`, a file's URL, may be used.

        Raises:
            AccessRefused: they may not.
            InvalidRequest: it is not a URL, or holds a login.
        """
        url = normal(package)
        self._require(url.rsplit("/", 2)[0], url)

    def check_below(self, url: str) -> None:
        """Return if `url` is somewhere in a channel that may be used.

        Raises:
            AccessRefused: it is not.
        """
        above = [url[: at.start()] for at in re.finditer("/", url)]
        if not any(self._is_allowed(each) for each in above):
            self._require(url, url)

    def _require(self, channel: str, shown: str) -> None:
        if not self._is_allowed(channel):
            what = "is on this machine's disk, which others may not read, and " if self._only_listed(channel) else ""
            message = f"the channel of {shown} {what}is not among those that the setting {_ALLOWED} allows"
            raise AccessRefused(message, field="channels")

    def _is_allowed(self, channel: str) -> bool:
        if not self._allowed and not self._only_listed(channel):
            return True
        return any(_covers(one, channel) if one.endswith("*") else channel == one for one in self._allowed)

    def _only_listed(self, channel: str) -> bool:
        return not self._alone and channel.startswith("file:") and channel not in self._usual

    # -- where it is asked for ----------------------------------------------------------------------------------------

    def mirrors_of(self, url: str) -> list[str]:
        """Return the addresses to ask for a file of a channel before its own, in order."""
        for prefix, mirrors in self._mirrors:
            if f"{url}/".startswith(f"{prefix}/"):
                found = [mirror + url[len(prefix) :] for mirror in mirrors]
                return [each for each in dict.fromkeys(found) if each != url]
        return []

    def admit(self, text: str) -> None:
        """Count the server of a URL of the site's configuration as the site's own, and take the URL's login.

        Raises:
            InvalidRequest: it is not a URL.
        """
        self._own(text)

    def is_site(self, url: URL) -> bool:
        """Tell whether the site's own configuration has named the server of a URL."""
        return str(url.origin()) in self.site

    def _own(self, text: str) -> str:
        try:
            bare, held = take_login(text)
        except ValueError:
            raise _no_channel(text) from None
        if held is not None:
            self.held.append(held)
        url = normal(bare)
        if not url.startswith("file:"):
            self.site.add(str(URL(url).origin()))
        return url

    def _of_setting(self, key: str, text: str) -> str:
        ending = "*" if key == _ALLOWED and text.endswith("*") else ""
        try:
            if "://" not in text and not text.startswith("/"):
                return self.url_of(text.removesuffix("*").rstrip("/")) + ("/" + ending if ending else "")
            if take_login(text)[1] is not None:
                raise _has_login("a login")
            if not ending:
                return self._own(text)
            # The slash at the end tells `/a/*` from `/a*`; a host is never named by its beginning.
            url = self._own(text[:-1])
            slash = "/" if text[:-1].endswith("/") or url.count("/") == 2 else ""
            return url + slash + ending
        except (InvalidRequest, ValueError) as error:
            raise ConfigError(f"{key}: {error}", field=key) from None

    def _of_condarc(self, key: str, items: Iterable[tuple[str, str]]) -> dict[str, str]:
        found: dict[str, str] = {}
        for name, text in items:
            try:
                written = "://" in text or text.startswith("/")
                found[name] = self._own(text) if written else self.url_of(text)
            except InvalidRequest:
                self.unusable.append(key)
        return found


def normal(text: str) -> str:
    """Return a URL of a channel or of a file in one in the one form that is compared and kept.

    Raises:
        InvalidRequest: not http, https or file; with a login, query or fragment; with `..` in its path.
    """
    if text.startswith("/"):
        text = "file://" + text
    try:
        parts = urlsplit(text)
        url = URL(text)
        _, held = take_login(text)
    except ValueError:
        raise _no_channel(text) from None
    if held is not None:
        raise _has_login("a login or token")
    path = parts.path.rstrip("/")
    local = parts.scheme == "file"
    named = parts.netloc in ("", "localhost") and path != "" if local else bool(_HOST.fullmatch(url.raw_host or ""))
    usable = parts.scheme in ("http", "https", "file") and named and not parts.query and not parts.fragment
    if not usable or len(text) > _LONGEST or not text.isprintable() or "\\" in text or _climbs(path[1:]):
        raise _no_channel(text)
    return f"file://{path}" if local else str(url.with_path(url.raw_path.rstrip("/") or "/", encoded=True)).rstrip("/")


def _climbs(path: str) -> bool:
    """Tell whether a path has steps that a server or the disk would take elsewhere."""
    steps = [unquote(step) for step in path.rstrip("/").split("/")] if path else []
    return any(step in ("", ".", "..") or "/" in step or "\\" in step or "\0" in step for step in steps)


def _no_channel(text: str) -> InvalidRequest:
    shown = re.sub(r"(^|/)t/[^/]+", r"\1t/…", re.sub(r"//[^/]*@", "//…@", text.partition("?")[0]))[:200]
    message = f"{shown!r} is not a channel: give its name, or its http, https or file URL without a query"
    return InvalidRequest(message, field="channels")


def _has_login(what: str) -> InvalidRequest:
    message = (
        f"a channel's URL holds {what}, which would be kept with the request; leave it out, and give it to "
        "the daemon's user in the file of RATTLER_AUTH_FILE"
    )
    return InvalidRequest(message, field="channels")


def _covers(pattern: str, channel: str) -> bool:
    # A star for everything means servers: directories are always named.
    prefix = pattern.removesuffix("*")
    return f"{channel}/".startswith(prefix) and (bool(prefix) or not channel.startswith("file:"))
