"""JSON that others write: null stands for absent, and a bad entry of a list or mapping voids itself alone.

Programs in Go, and many others, write null where a member has no value. All JSON that does not come from wavelet itself
is read here. It may be nested to a bounded depth only: readers and writers recurse, and how far they get depends on
their callers; so a document that can be read can be written again, wherever that is done.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, TypeVar

import msgspec

_T = TypeVar("_T")

NESTING_LIMIT = 128
"""Arrays and objects of JSON inside each other. Real documents stay under 10."""

_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_OTHERS = bytes(set(range(256)) - set(b"[]{}"))


class ForeignJsonError(ValueError):
    """It is not JSON, nested too deeply, or not of the kind that is expected; the message says where."""


def decode(data: bytes, kind: type[_T]) -> _T:
    """Read `data` as `kind`.

    Raises:
        ForeignJsonError: see there.
    """
    hashable: Any = kind
    try:
        refuse_deep(data)
        decoded: _T = _decoder(hashable).decode(data)
    except msgspec.ValidationError:
        pass  # perhaps for a null alone
    except (msgspec.DecodeError, UnicodeDecodeError, TooNested) as error:
        raise ForeignJsonError(str(error)) from None
    else:
        return decoded
    try:
        return msgspec.convert(without_nulls(msgspec.json.decode(data)), kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:  # also behind the place where the first reading ended
        raise ForeignJsonError(str(error)) from None


@cache
def _decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind)  # one that is made anew each time takes twice as long


def convert(value: object, kind: type[_T]) -> _T | None:
    """Return a decoded value as `kind`, None where it is not of it."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError:
        pass  # perhaps for a null alone
    try:
        return msgspec.convert(without_nulls(value), kind)
    except msgspec.ValidationError:
        return None


def each(values: Iterable[object] | None, kind: type[_T]) -> list[_T]:
    """Return those of `values` that are of `kind`."""
    return [one for value in values or () if (one := convert(value, kind)) is not None]


def each_value(values: Mapping[str, object] | None, kind: type[_T]) -> dict[str, _T]:
    """Return those members of a mapping whose value is of `kind`."""
    return {name: one for name, value in (values or {}).items() if (one := convert(value, kind)) is not None}


def without_nulls(value: object) -> object:
    """Return a decoded value without the members that are null, at any depth; what a list has stays."""
    if isinstance(value, dict):
        return {name: without_nulls(member) for name, member in value.items() if member is not None}
    if isinstance(value, list):
        return [without_nulls(member) for member in value]
    return value


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
