"""URLs of published files: their one form, and which of them may be fetched. Pure.

Whoever asks names a URL, so that it is compared in parts and never as it was written: a prefix ends at a slash, and
no step of a path leads up.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import quote, unquote, urlsplit

from wavelet.errors import AccessRefused, InvalidRequest

SETTING = "sif.sources"

_SCHEMES = {"http": 80, "https": 443}
_LONGEST = 2048
_WRITTEN = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=:@/\[\]-]|%[0-9A-Fa-f]{2})+")
_HOST = re.compile(r"[a-z0-9]([a-z0-9._-]*[a-z0-9])?\.?|[0-9a-f:.]*:[0-9a-f:.]*")
_PLAIN = "/:@!$&'()*+,;=~"
"""Characters, besides letters, digits, `-`, `.` and `_`, that a path has unquoted (RFC 3986, 3.3)."""


def is_url(text: str) -> bool:
    """Tell whether an image is named by a URL: what a name of a registry never begins with."""
    return text.partition("://")[0].lower() in _SCHEMES and "://" in text


def url_of(text: str, field: str = "") -> str:
    """Return the URL of a published file in the one form that is compared, kept and shown.

    Args:
        text: as it was asked for.
        field: the member of the request, which the error names.

    Raises:
        InvalidRequest: not http or https; with a login, a query or a fragment; with steps that lead elsewhere.
    """
    url = _normal(text)
    if url is None or url.endswith("/"):
        shown = re.sub(r"//[^/]*@", "//…@", text.partition("?")[0])[:200]
        message = (
            f"{shown!r} is not the URL of a file: give an http or https URL with a path, and without a login, a query"
            " and `..`"
        )
        raise InvalidRequest(f"{field}: {message}" if field else message, field=field or None)
    return url


class Sources:
    """The prefixes of the URLs that may be fetched, as the setting has them."""

    def __init__(self, prefixes: Iterable[str]) -> None:
        """Read them.

        Raises:
            ValueError: one is no URL.
        """
        self._prefixes = tuple(_prefix(text) for text in prefixes)

    def covers(self, url: str) -> bool:
        """Tell whether the file at `url`, in its one form, may be fetched."""
        return any(url.startswith(prefix) for prefix in self._prefixes)

    def check(self, url: str) -> None:
        """Return if the file at `url`, in its one form, may be fetched.

        Raises:
            AccessRefused: no prefix covers it.
        """
        if not self.covers(url):
            raise AccessRefused(
                f"{url} is not below any of the URLs that the setting {SETTING} lists"
                f" ({', '.join(self._prefixes) or 'none'}); files of other places are fetched once the site adds theirs"
            )


def _prefix(text: str) -> str:
    url = _normal(text if text.endswith("/") else f"{text}/")
    if url is None:
        shown = re.sub(r"//[^/]*@", "//…@", text)[:200]
        message = f"{SETTING}: {shown!r} is not an http or https URL without a login, a query and `..`"
        raise ValueError(message)
    return url


def _normal(text: str) -> str | None:
    """Return a URL with its scheme, host and port in lower case, and its path quoted as little as can be."""
    try:
        parts = urlsplit(text)
        scheme, host, port = parts.scheme, parts.hostname or "", parts.port
        steps = [unquote(step, errors="strict") for step in parts.path.split("/")][1:]
    except ValueError:
        return None
    written = text.partition("://")[2]
    if scheme not in _SCHEMES or _HOST.fullmatch(host) is None or "@" in parts.netloc or len(text) > _LONGEST:
        return None
    if _WRITTEN.fullmatch(written) is None or not steps:
        return None
    whole = steps[:-1] if steps[-1] == "" else steps  # a prefix ends with a slash
    if any(step in ("", ".", "..") or "/" in step or "\\" in step or not step.isprintable() for step in whole):
        return None
    address = f"[{host}]" if ":" in host else host
    address += "" if port in (None, _SCHEMES[scheme]) else f":{port}"
    return f"{scheme}://{address}/{'/'.join(map(quoted, steps))}"


def quoted(path: str) -> str:
    """Return a path, or a step of one, as a URL has it."""
    return quote(path, safe=_PLAIN)
