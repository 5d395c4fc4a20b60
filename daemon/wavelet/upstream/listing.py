"""Tag lists and referrers as registries answer them, page by page. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

import msgspec
from yarl import URL

from wavelet import foreign_json
from wavelet.errors import UpstreamBroken
from wavelet.foreign_json import ForeignJsonError
from wavelet.image.image import read_entries
from wavelet.image.reference import Digest

LISTING_LIMIT = 8 * 1024 * 1024
"""Bytes of one page of a list."""

LIST_LIMIT = 16 * 1024 * 1024
"""Bytes of all pages of one list."""

PAGE_LIMIT = 200
"""Pages of one list that are read."""

_LINK = re.compile(r"<([^>]*)>([^,]*)")
_NEXT = re.compile(r';\s*rel\s*=\s*"?next"?', re.IGNORECASE)


class _Tags(msgspec.Struct):
    tags: list[object] | None = None


@dataclass(frozen=True, slots=True)
class Referrers:
    """Descriptors of what refers to a manifest, as they came; `missing` says why there may be more, if there may."""

    descriptors: list[dict[str, object]]
    missing: str = ""


def parse_tags(data: bytes, host: str) -> list[str]:
    """Read a page of a tag list (distribution-spec, "Listing tags"); `null` is an empty one.

    Raises:
        UpstreamBroken: it is not one.
    """
    try:
        return foreign_json.each(foreign_json.decode(data, _Tags).tags, str)
    except ForeignJsonError:
        raise UpstreamBroken(f"{host} answers something that is not a list of tags") from None


def parse_referrers(data: bytes, subject: Digest) -> list[dict[str, object]] | None:
    """Read an index of what refers to `subject` (distribution-spec, "Listing referrers"), its descriptors as they are.

    Returns:
        None where it is no such index: a page for people, or `subject` itself, which some registries answer for any
        name. An entry that is no descriptor is left out.
    """
    try:
        document = foreign_json.decode(data, dict[str, object])
    except ForeignJsonError:
        return None
    manifests = document.get("manifests", 0)
    if not isinstance(manifests, list | None) or Digest.of(data, subject.algorithm) == subject:
        return None
    return [wire for entry, wire in read_entries(manifests or []) if entry.descriptor.media_type]


def check_length(length: int, host: str) -> None:
    """Hold the bytes of a list's pages so far against the limit.

    Raises:
        UpstreamBroken: more than a list can reasonably have.
    """
    if length > LIST_LIMIT:
        raise UpstreamBroken(f"{host} answers a list of more than {LIST_LIMIT} bytes")


def next_query(links: list[str], url: URL) -> dict[str, str] | None:
    """Return the query of the next page that `Link` headers (RFC 8288) name, or None at the end.

    Only the query is taken from it: a list goes on where it began.
    """
    for target, parameters in (found for text in links for found in _LINK.findall(text)):
        if _NEXT.search(parameters):
            try:
                query = dict(url.join(URL(target)).query)
            except ValueError:
                return None
            return query if query and query != dict(url.query) else None
    return None


def whole(tags: list[str], last: str | None) -> list[str]:
    """Return a list that came in one piece in order, from behind `last` on: some registries know no order and no pages.

    Both orders that registries take for the specification's "lexical" are left as they are.
    """
    in_order = tags in (sorted(tags), sorted(tags, key=str.lower))
    ordered = tags if in_order else sorted(tags)
    return ordered[ordered.index(last) + 1 :] if last is not None and last in ordered else ordered


def fallback_tag(digest: Digest) -> str:
    """Return the tag under which the referrers lie at registries without the API (distribution-spec, same section)."""
    return f"{digest.algorithm}-{digest.hex}"[:128]
