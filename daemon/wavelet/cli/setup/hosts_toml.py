"""hosts.toml, as containerd, nerdctl and ctr read it: the daemon as the first host, put in and taken out as text. Pure.

What others have written stays as it is to the byte. Hosts are tried in the order in which they stand in the file, and
behind them `server`, or without it the registry itself (containerd's docs/hosts.md).
"""

from __future__ import annotations

import re
import tomllib
from typing import Any

from wavelet.errors import NotStarted

BEGIN = "# >>> wavelet setup containerd"
WHOLE = f"{BEGIN}: this file is its own"
"""The first line where there was no file before."""

END = "# <<< wavelet setup containerd"
_BLOCK = re.compile(rf"^{re.escape(BEGIN)}\n.*?^{re.escape(END)}(?:\n|\Z)", re.MULTILINE | re.DOTALL)
_TABLE = re.compile(r"^[ \t]*\[", re.MULTILINE)


def with_daemon(text: str | None, authority: str, where: str) -> str:
    """Return a file's text with the daemon in front; `where` names the file in errors.

    Raises:
        NotStarted: the file is no TOML, or of a shape in which a table cannot be put in front.
    """
    block = _block(authority)
    if text is None:
        return f"{WHOLE}\n{block}{END}\n"
    if text.startswith(f"{WHOLE}\n") and without_daemon(text) is None:
        return f"{WHOLE}\n{block}{END}\n"
    before = without_daemon(text) or ""
    known = _parsed(before, where)
    after = _put_in_front(before, f"{BEGIN}\n{block}{END}")
    expected = known | {"host": _host(authority) | known.get("host", {})}
    try:
        is_understood = tomllib.loads(after) == expected and without_daemon(after) == before
    except tomllib.TOMLDecodeError:
        is_understood = False
    if not is_understood:
        raise NotStarted(
            f"{where} is written in a way that cannot be added to; put this in front of its hosts yourself:\n{block}"
        )
    return after


def without_daemon(text: str) -> str | None:
    """Return a file's text as it was before, with what others have changed since; None: the file is to be removed."""
    if text.startswith(f"{WHOLE}\n"):
        rest = _BLOCK.sub("", text.replace(f"{WHOLE}\n", f"{BEGIN}\n", 1), count=1)
        return rest or None
    found = _BLOCK.search(text)
    if found is None:
        return text
    before, behind = text[: found.start()], text[found.end() :]
    if not found[0].endswith("\n"):  # it was put behind a last line that had no end
        before = before.removesuffix("\n")
    return before + behind


def is_set_up(text: str) -> bool:
    """Tell whether the daemon was put in."""
    return text.startswith(f"{WHOLE}\n") or _BLOCK.search(text) is not None


def hosts_of(text: str) -> list[str]:
    """Return the hosts of a file in their order; none where it cannot be read."""
    try:
        return list(tomllib.loads(text).get("host", {}))
    except tomllib.TOMLDecodeError:
        return []


def _block(authority: str) -> str:
    return f'[host."http://{authority}"]\n  capabilities = ["pull", "resolve"]\n  dial_timeout = "1s"\n'


def _host(authority: str) -> dict[str, Any]:
    parsed: dict[str, Any] = tomllib.loads(_block(authority))["host"]
    return parsed


def _put_in_front(text: str, block: str) -> str:
    """Put a block in front of the first table: what stands before that belongs to none."""
    found = _TABLE.search(text)
    if found is not None:
        return f"{text[: found.start()]}{block}\n{text[found.start() :]}"
    return f"{text}{block}\n" if not text or text.endswith("\n") else f"{text}\n{block}"


def _parsed(text: str, where: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise NotStarted(f"{where} is no TOML, and containerd fails on it: {error}") from None
