"""HTTP header arithmetic of the registry (pure): ranges, entity tags, accepted types, links."""

from __future__ import annotations

import re
from urllib.parse import urlencode

from wavelet.errors import InvalidRequest, RangeInvalid

_RANGE = re.compile(r"bytes=([0-9]*)-([0-9]*)")


def parse_range(header: str | None, size: int) -> tuple[int, int] | None:
    """Return the one range that is asked for, as start and end (exclusive), or None for the whole (RFC 9110, 14.2).

    Other units, several ranges and malformed ones count as not asked for.

    Raises:
        RangeInvalid: it begins behind the end.
    """
    found = _RANGE.fullmatch(header.strip()) if header else None
    if found is None or found[0] == "bytes=-" or len(found[0]) > 60:
        return None
    if not found[1]:
        length = int(found[2])
        if length == 0:
            raise RangeInvalid(size)
        # Of nothing, the last bytes are all of it, which no Content-Range can say.
        return (max(0, size - length), size) if size else None
    start, end = int(found[1]), int(found[2]) + 1 if found[2] else size
    if found[2] and end <= start:
        return None
    if start >= size:
        raise RangeInvalid(size)
    return start, min(end, size)


def matches_etag(header: str | None, digest: str) -> bool:
    """Tell whether `If-None-Match` names the entity whose tag is its digest (RFC 9110, 13.1.2)."""
    if not header:
        return False
    tags = [tag.strip().removeprefix("W/").strip('"') for tag in header.split(",")]
    return digest in tags or "*" in tags


def accepts(accept: list[str], media_type: str) -> bool:
    """Tell whether the `Accept` headers admit a media type; none at all admits every one (RFC 9110, 12.5.1)."""
    ranges = [part.partition(";")[0].strip() for header in accept for part in header.split(",") if part.strip()]
    return not ranges or bool({media_type, "*/*", "application/*"} & set(ranges))


def parse_page_size(text: str | None) -> int | None:
    """Read `n` of a tags list.

    Raises:
        InvalidRequest: not a number of at least 0.
    """
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise InvalidRequest(f"n: {text[:40]!r} is not a number of tags", field="n")
    return int(text)


def next_link(path: str, n: int, last: str, namespace: str | None) -> str:
    """Return the `Link` header of a page that has a next one (distribution-spec, "Listing Tags")."""
    query = {"n": str(n), "last": last} | ({"ns": namespace} if namespace is not None else {})
    return f'<{path}?{urlencode(query)}>; rel="next"'


def warning(message: str) -> str:
    """Return the `Warning` header of an answer that may not be the whole truth (distribution-spec, "Warnings")."""
    text = reason_phrase(message).replace("\\", "?").replace('"', "'")
    return f'299 - "{text}"'


def reason_phrase(message: str) -> str:
    """Return a sentence as it can stand in a status line: containerd shows its user nothing else."""
    return "".join(char if " " <= char <= "~" else "?" for char in message.replace("\n", " "))[:240]
