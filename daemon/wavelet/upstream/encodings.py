"""Content codings (RFC 9110, 8.4) that servers put on small documents though none was asked for. Pure."""

from __future__ import annotations

import re
import zlib

from wavelet import foreign_json
from wavelet.foreign_json import ForeignJsonError

_SEPARATOR = re.compile(r"\s*,\s*")
_GZIP, _ZLIB, _DEFLATE = 31, 15, -15
"""Forms of `zlib.decompressobj`: gzip, zlib, and deflate without either's header, which old servers send."""


class EncodingError(ValueError):
    """The bytes cannot be decoded; the message says why."""


class TooLong(EncodingError):
    """They are more, decoded, than the limit."""


def codings(header: str) -> list[str]:
    """Return the codings of a `Content-Encoding` in the order in which they were applied, without `identity`."""
    return [name for name in _SEPARATOR.split(header.strip().lower()) if name not in ("", "identity")]


def undone(data: bytes, header: str, limit: int, *, cut: bool = False) -> bytes:
    """Return `data` without the codings of `header`, of at most `limit` bytes; with `cut`, leave out what is beyond.

    JSON that has none of them in truth is returned as it is: object stores keep the `aws-chunked` of an upload.

    Raises:
        TooLong: it has more.
        EncodingError: an unknown coding, or bytes that are not what it says.
    """
    try:
        return _without(data, codings(header), limit, cut=cut)
    except TooLong:
        raise
    except EncodingError:
        if not _is_json(data):
            raise
        return data


def _without(data: bytes, names: list[str], limit: int, *, cut: bool) -> bytes:
    for name in reversed(names):
        if name not in ("gzip", "x-gzip", "deflate"):
            raise EncodingError(f"it is encoded by {name[:20]!a}, which was not asked for")
        data = _inflated(data, _form(name, data), limit, cut=cut)
    return data


def _is_json(data: bytes) -> bool:
    try:
        foreign_json.decode(data, dict[str, object])
    except ForeignJsonError:
        return False
    return True


def _form(name: str, data: bytes) -> int:
    if name != "deflate":
        return _GZIP
    # RFC 1950, 2.2: method 8, and a check by 31 over the first two bytes.
    return _ZLIB if len(data) > 1 and data[0] & 15 == 8 and (data[0] << 8 | data[1]) % 31 == 0 else _DEFLATE


def _inflated(data: bytes, form: int, limit: int, *, cut: bool) -> bytes:
    found = b""
    while data:
        inflating = zlib.decompressobj(form)
        try:
            found += inflating.decompress(data, limit + 1 - len(found))
        except zlib.error as error:
            raise EncodingError(f"its encoding is damaged ({error})") from None
        if len(found) > limit:
            if cut:
                return found[:limit]
            raise TooLong(f"it has more than {limit} bytes")
        if not inflating.eof:
            if cut:
                return found
            raise EncodingError("its encoding breaks off")
        data = inflating.unused_data
    return found
