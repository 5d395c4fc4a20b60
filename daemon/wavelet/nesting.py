"""The depth that JSON of others may have: readers and writers recurse, and how far they get depends on their callers.

A document that can be read can so be written again, wherever that is done.
"""

from __future__ import annotations

import re

NESTING_LIMIT = 128
"""Arrays and objects inside each other. Real documents stay under 10."""

_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_OTHERS = bytes(set(range(256)) - set(b"[]{}"))


class TooNested(ValueError):
    """A document is nested more deeply than `NESTING_LIMIT`."""

    def __init__(self) -> None:
        super().__init__(f"it is nested more than {NESTING_LIMIT} deep")


def refuse_deep(data: bytes) -> None:
    """Return if JSON is not nested too deeply; whether it is JSON at all is left to its reader.

    Raises:
        TooNested: it is.
    """
    if data.count(b"[") + data.count(b"{") <= NESTING_LIMIT:
        return
    level = 0
    for bracket in _STRING.sub(b"", data).translate(None, _OTHERS):
        level += 1 if bracket in b"[{" else -1
        if level > NESTING_LIMIT:
            raise TooNested
