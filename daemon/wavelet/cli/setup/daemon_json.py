"""daemon.json, as dockerd reads it: the daemon as first mirror, put in and taken out as text. Pure.

JSON has no comments that could mark what is ours, so ours has a form that hardly anybody else gives it: a space before
the entry, and one behind it. What others have written stays as it is to the byte. Where somebody has formatted the file
anew since, the entry is known by its address.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from wavelet.errors import NotStarted

KEY = "registry-mirrors"
_LIST = re.compile(rf'"{KEY}"\s*:\s*\[')
_OBJECT = re.compile(r"\s*\{")
_INDENT = re.compile(r"\n([ \t]+)\S")
_URL = r'"(http://[^"\s]+)"'
_OWN_KEY = re.compile(rf'\n  "{KEY}": \[ {_URL} \],?')
_OWN_LAST_KEY = re.compile(rf',\n  "{KEY}": \[ {_URL} \]')
_OWN_ENTRY = re.compile(rf"(?<=\[) {_URL}(?: , )?")
_WHOLE = re.compile(rf'\{{\n  "{KEY}": \[ {_URL} \]\n\}}\n')


def with_mirror(text: str | None, authority: str, where: str) -> str:
    """Return a file's text with the daemon as the first mirror; `where` names the file in errors.

    Raises:
        NotStarted: it is not a JSON object, or its mirrors are no list.
    """
    url = f"http://{authority}"
    before = None if text is None else without_mirror(text, "")
    if before is None:
        return f"{{{_own_key(url)}\n}}\n"
    known = _loads(before)
    if not isinstance(known, dict):
        raise NotStarted(f"{where} is not a JSON object, and dockerd does not start with it; mend it first")
    mirrors = known.get(KEY, [])
    if not isinstance(mirrors, list):
        raise NotStarted(f"{where}: {KEY} is no list, and dockerd does not start with it; mend it first")
    if url in mirrors:
        return before
    after = _with_entry(before, url) if KEY in known else _with_key(before, url, is_only=not known)
    if _loads(after) != known | {KEY: [url, *mirrors]} or without_mirror(after, "") != before:
        added = json.dumps({KEY: [url, *mirrors]})
        raise NotStarted(f"{where} is written in a way that cannot be added to; make it say {added} yourself")
    return after


def without_mirror(text: str, authority: str) -> str | None:
    """Return a file's text as it was before, with what others have changed since; None: the file is to be removed.

    Args:
        text: of the file.
        authority: the daemon's, by which the entry is known where the file was formatted anew; empty: it is not.
    """
    if _WHOLE.fullmatch(text):
        return None
    known = _loads(text)
    if not isinstance(known, dict) or not isinstance(known.get(KEY), list):
        return text
    for url, candidate, has_key in _by_form(text):
        if _loads(candidate) == _said_without(known, url, has_key=has_key):
            return candidate
    url = f"http://{authority}"
    if url not in known[KEY]:
        return text
    left = _said_without(known, url, has_key=known[KEY] != [url])
    indent = _INDENT.search(text)
    return json.dumps(left, indent=indent[1] if indent else None, ensure_ascii=False) + ("\n" * text.endswith("\n"))


def mirrors_of(text: str) -> list[str]:
    """Return the mirrors that a file names; none where it cannot be read."""
    known = _loads(text)
    found = known.get(KEY) if isinstance(known, dict) else None
    return [str(each) for each in found] if isinstance(found, list) else []


def _by_form(text: str) -> Iterator[tuple[str, str, bool]]:
    """Yield what may be ours by its form: the URL, the text without it, and whether the list stays."""
    for form, has_key in ((_OWN_KEY, False), (_OWN_LAST_KEY, False), (_OWN_ENTRY, True)):
        if found := form.search(text):
            yield found[1], text[: found.start()] + text[found.end() :], has_key


def _said_without(known: dict[str, Any], url: str, *, has_key: bool) -> dict[str, Any]:
    left = {key: value for key, value in known.items() if key != KEY}
    return left | {KEY: [each for each in known[KEY] if each != url]} if has_key else left


def _own_key(url: str) -> str:
    return f'\n  "{KEY}": [ "{url}" ]'


def _with_key(text: str, url: str, *, is_only: bool) -> str:
    found = _OBJECT.match(text)
    assert found is not None, "it was parsed as an object"
    return f"{found[0]}{_own_key(url)}{'' if is_only else ','}{text[found.end() :]}"


def _with_entry(text: str, url: str) -> str:
    found = _LIST.search(text)
    if found is None:
        return text
    behind = text[found.end() :]
    return f'{text[: found.end()]} "{url}"{"" if behind.lstrip().startswith("]") else " , "}{behind}'


def _loads(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None
