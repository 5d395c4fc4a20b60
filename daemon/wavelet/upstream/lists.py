"""Lists of tags and referrers, page by page, from registries that have all, some or none of the API."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from wavelet.errors import AccessRefused, ImageNotFound, UpstreamBroken, UpstreamError
from wavelet.image.image import INDEX_TYPES
from wavelet.image.reference import Digest, Reference, Repository
from wavelet.plan.tokens import Identity
from wavelet.upstream import listing
from wavelet.upstream.credential_sources import Granted
from wavelet.upstream.fallback import CredentialFallback, Question
from wavelet.upstream.manifests import FetchedManifest
from wavelet.upstream.session import Call
from wavelet.upstream.streams import Answer, raise_for

_LARGEST_PAGE = 1000

_log = structlog.get_logger(__name__)
_T = TypeVar("_T")


class Lists:
    """Asks for lists; `manifest` fetches one, as `Upstream.manifest` does."""

    def __init__(
        self, fallback: CredentialFallback, manifest: Callable[[Reference, Identity], Awaitable[FetchedManifest]]
    ) -> None:
        self._fallback = fallback
        self._manifest = manifest

    async def tags(
        self, repository: Repository, identity: Identity, n: int | None, last: str | None
    ) -> tuple[list[str], bool]:
        """See `Upstream.tags`."""
        if n == 0:
            return [], False
        tags: list[str] = []
        length = 0
        query = _given(n=None if n is None else str(min(n, _LARGEST_PAGE)), last=last)
        for _ in range(listing.PAGE_LIMIT):
            if n is not None and len(tags) >= n:
                break
            page, size, following = await self._tag_page(repository, identity, query)
            listing.check_length(length := length + size, repository.host)
            tags += page if tags or following is not None else listing.whole(page, last)
            if following is None:
                return (tags, False) if n is None else (tags[:n], len(tags) > n)
            query = following
        return tags[:n], True

    async def _tag_page(
        self, repository: Repository, identity: Identity, query: dict[str, str]
    ) -> tuple[list[str], int, dict[str, str] | None]:
        async def read(answer: Answer, _: Granted) -> tuple[list[str], int, dict[str, str] | None]:
            async with answer:
                missing = ImageNotFound(f"{answer.endpoint.host} has no tags/list of {repository}")
                if answer.status in (405, 501):
                    raise missing
                if answer.status != 200:
                    await raise_for(answer, missing)
                return await _page(answer, listing.parse_tags)

        return await self._fallback.ask(Question(repository, identity, Call("tags", "GET", "tags/list", query), read))

    async def referrers(self, repository: Repository, digest: Digest, identity: Identity) -> listing.Referrers:
        """See `Upstream.referrers`."""
        mirrors: list[str] = []
        try:
            found = await self._of_api(repository, digest, identity, mirrors)
            if found is not None:
                return listing.Referrers(found)
        except (AccessRefused, ImageNotFound):
            pass  # whether a refusal is about the image or about the API, the other way shows
        except UpstreamError as error:
            # Words that are no list, or a redirect to a login page that is not there: no API, as the tag will show.
            if error.passing and not mirrors:
                raise
        try:
            return listing.Referrers(await self._of_tag(repository, digest, identity, mirrors))
        except UpstreamError as error:
            if not mirrors:
                raise
            missing = f"{mirrors[0]} lists no referrers, and beyond it nobody could be asked: {error.message}"
            _log.warning("an incomplete list of referrers", repository=str(repository), because=missing)
            return listing.Referrers([], missing)

    async def _of_api(
        self, repository: Repository, digest: Digest, identity: Identity, mirrors: list[str]
    ) -> list[dict[str, object]] | None:
        """Return what the referrers API lists; None where there is none: then anything may be answered."""
        found: list[dict[str, object]] = []
        length = 0
        query: dict[str, str] | None = {}

        async def read(answer: Answer, _: Granted) -> tuple[list[dict[str, object]], int, dict[str, str] | None] | None:
            async with answer:
                page = None
                if answer.status == 200:
                    page = await _page(answer, lambda data, _: listing.parse_referrers(data, digest))
                if answer.endpoint.is_mirror and (page is None or page[0] is None):
                    mirrors.append(answer.endpoint.host)
                    raise ImageNotFound(f"{answer.endpoint.host} has no referrers API")
                return None if page is None or page[0] is None else (page[0], *page[1:])

        for _ in range(listing.PAGE_LIMIT):
            call = Call("referrers", "GET", f"referrers/{digest}", query or {})
            page = await self._fallback.ask(Question(repository, identity, call, read))
            if page is None:
                return None
            listing.check_length(length := length + page[1], repository.host)
            found += page[0]
            query = page[2]
            if query is None:
                break
        return found

    async def _of_tag(
        self, repository: Repository, digest: Digest, identity: Identity, mirrors: list[str]
    ) -> list[dict[str, object]]:
        """Return what the index under the fall-back tag lists; another document there, as the image, lists nothing."""
        try:
            fetched = await self._manifest(Reference(repository, listing.fallback_tag(digest)), identity)
        except ImageNotFound:
            return []
        except UpstreamBroken as error:
            if mirrors:
                raise
            _log.warning("the tag of the referrers is no manifest", repository=str(repository), because=error.message)
            return []
        listed = listing.parse_referrers(fetched.data, digest) if fetched.media_type in INDEX_TYPES else None
        return listed or []


async def _page(answer: Answer, parse: Callable[[bytes, str], _T]) -> tuple[_T, int, dict[str, str] | None]:
    """Read a page: what `parse` makes of it, its size in bytes, and the query of the next one."""
    data = await answer.read(listing.LISTING_LIMIT)
    following = listing.next_query(answer.headers.getall("Link", []), answer.response.url)
    return parse(data, answer.endpoint.host), len(data), following


def _given(**members: str | None) -> dict[str, str]:
    return {name: value for name, value in members.items() if value is not None}
