"""Other servers' addresses and words as they may be shown: without secrets, on one line. Pure."""

from __future__ import annotations

import re

from yarl import URL

_LONGEST_EXCERPT = 200
_CONDA_TOKEN = re.compile(r"/t/[^/]+")


def server_of(url: URL) -> str:
    """Return host and port, the port only where it is not the scheme's own."""
    return url.host_port_subcomponent or ""


def shown(url: URL) -> str:
    """Return `url` as it may be shown: without query, fragment and login, and without a conda token in its path."""
    return _CONDA_TOKEN.sub("/t/…", str(url.with_user(None).with_query(None).with_fragment(None)))


def printable(text: str) -> str:
    """Return another server's words fit for a message: one line, no control characters, not long."""
    words = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return words if len(words) <= _LONGEST_EXCERPT else words[: _LONGEST_EXCERPT - 1] + "…"
