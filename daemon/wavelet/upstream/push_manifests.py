"""The push of one manifest (distribution-spec, "Pushing manifests"), and the list of what refers to its subject."""

from __future__ import annotations

import asyncio
import weakref

from wavelet.errors import InvalidRequest, UpstreamBroken, UpstreamError
from wavelet.image.image import INDEX_TYPES, MANIFEST_LIMIT, OCI_INDEX
from wavelet.image.reference import Digest, Repository
from wavelet.plan.tokens import Identity
from wavelet.upstream.fallback import CredentialFallback
from wavelet.upstream.listing import fallback_tag
from wavelet.upstream.push_referrers import Referrer, referrer_of, with_referrer
from wavelet.upstream.push_target import PushTarget
from wavelet.upstream.request_body import Body
from wavelet.upstream.session import Call, RegistrySession
from wavelet.upstream.streams import Answer
from wavelet.upstream.token_scope import PUSH

LIST_ATTEMPTS = 4
"""Times that a fall-back list is put until what was added to it is found in it: others may put theirs in between."""

DISPUTES = 4
"""Times that a manifest is put whose digest a registry disputes: Docker's reads files of another push half written."""

DISPUTE_DELAY = 0.1
"""Seconds before it is put again, once more for each time."""

_TAKEN = frozenset({200, 201, 202})


class ManifestPush:
    """Pushes manifests and indexes to repositories."""

    def __init__(self, fallback: CredentialFallback, session: RegistrySession) -> None:
        self._fallback = fallback
        self._session = session
        self._lists: weakref.WeakValueDictionary[tuple[Repository, Digest], asyncio.Lock] = (
            weakref.WeakValueDictionary()
        )

    async def push(
        self, repository: Repository, reference: str, data: bytes, media_type: str, identity: Identity
    ) -> None:
        """See `Pusher.push_manifest`."""
        is_listed = await self._put(repository, reference, data, media_type, identity)
        digest = Digest(reference) if ":" in reference else Digest.of(data)
        referrer = referrer_of(data, media_type, digest)
        if referrer is not None and not is_listed:
            # Two that are pushed here at one time would each put a list without the other.
            key = (repository, referrer.subject)
            lock = self._lists.setdefault(key, asyncio.Lock())
            async with lock:
                await self._add_to_list(repository, referrer, identity)

    async def _put(
        self, repository: Repository, reference: str, data: bytes, media_type: str, identity: Identity
    ) -> bool:
        """Put a document; tell whether the registry lists it as a referrer of its subject."""
        what = f"manifest {reference}"
        call = Call(
            "manifest", "PUT", f"manifests/{reference}", headers={"Content-Type": media_type}, actions=PUSH,
            body=Body.of(what, data),
        )  # fmt: skip
        attempt = 1
        while True:
            answer, login = await self._fallback.ask_to_push(repository, identity, call)
            async with answer:
                if answer.status in _TAKEN:
                    _compare(answer, data, what)
                    return "OCI-Subject" in answer.headers
                target = PushTarget(repository, self._session, login)
                refusal = await target.refusal(answer)
            if refusal.code != "DIGEST_INVALID" or attempt == DISPUTES:
                raise target.error_of(refusal, what, len(data))
            await asyncio.sleep(attempt * DISPUTE_DELAY)
            attempt += 1

    async def _add_to_list(self, repository: Repository, referrer: Referrer, identity: Identity) -> None:
        """Add to the index under the fall-back tag (distribution-spec, "Pushing Manifests with Subject")."""
        tag = fallback_tag(referrer.subject)
        for _ in range(LIST_ATTEMPTS):
            held = await self._list(repository, tag, identity)
            index = with_referrer(held, referrer)
            if index is None:
                return
            if len(index) > MANIFEST_LIMIT:
                raise UpstreamBroken(
                    f"the list of what refers to {referrer.subject} in {repository} (tag {tag}) is full; remove some"
                )
            await self._put(repository, tag, index, OCI_INDEX, identity)
        if with_referrer(await self._list(repository, tag, identity), referrer) is not None:
            raise UpstreamError(f"others change the tag {tag} of {repository} all the time; ask again")

    async def _list(self, repository: Repository, tag: str, identity: Identity) -> bytes | None:
        """Return the index under a fall-back tag, None where there is none.

        Raises:
            UpstreamBroken: something else is there, which is left as it is.
        """
        headers = {"Accept": ", ".join(INDEX_TYPES)}
        call = Call("manifest", "GET", f"manifests/{tag}", headers=headers, actions=PUSH)
        answer, login = await self._fallback.ask_to_push(repository, identity, call)
        async with answer:
            if answer.status in (404, 410):
                return None
            if answer.status != 200:
                raise await PushTarget(repository, self._session, login).error(answer, f"a GET of the tag {tag}", 0)
            media_type = answer.headers.get("Content-Type", "").partition(";")[0].strip()
            if media_type not in INDEX_TYPES:
                raise UpstreamBroken(f"the tag {tag} of {repository} is no list of referrers ({media_type}); remove it")
            return await answer.read(MANIFEST_LIMIT)


def _compare(answer: Answer, data: bytes, what: str) -> None:
    """Compare the digest under which a registry says that it keeps what it got.

    Raises:
        UpstreamBroken: it is another one.
    """
    try:
        stated = Digest.parse(answer.headers.get("Docker-Content-Digest", ""))
    except InvalidRequest:
        return
    if stated != Digest.of(data, stated.algorithm):
        raise UpstreamBroken(f"{answer.endpoint.host} keeps {what} as something else: it answers the digest {stated}")
