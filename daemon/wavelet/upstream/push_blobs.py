"""The push of one blob (distribution-spec, "Pushing blobs"): mounted from another repository, else sent."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager

from yarl import URL

from wavelet.errors import UpstreamBroken
from wavelet.image.image import Descriptor
from wavelet.image.reference import Digest, Repository
from wavelet.plan.tokens import Identity
from wavelet.upstream.fallback import CredentialFallback
from wavelet.upstream.request_body import Body
from wavelet.upstream.retry import ATTEMPTS
from wavelet.upstream.session import Call, RegistrySession
from wavelet.upstream.streams import Answer, raise_for
from wavelet.upstream.token_scope import PUSH

OpenAt = Callable[[int], AbstractAsyncContextManager[AsyncIterator[bytes]]]
"""Gives a content's bytes from an offset on; it may be called again."""


class BlobPush:
    """Pushes blobs to repositories."""

    def __init__(self, fallback: CredentialFallback, session: RegistrySession) -> None:
        self._fallback = fallback
        self._session = session

    async def push(
        self,
        repository: Repository,
        blob: Descriptor,
        open_at: OpenAt,
        identity: Identity,
        mount_from: Sequence[Repository],
        on_bytes: Callable[[int], None],
    ) -> bool:
        """See `Pusher.push_blob`."""
        if await self.is_there(repository, blob.digest, identity):
            return False
        mounts = [each.path for each in mount_from if each.host == repository.host and each != repository]
        query = {"mount": str(blob.digest), "from": mounts[0]} if mounts else {}
        call = Call("upload", "POST", "blobs/uploads/", query, actions=PUSH, mounts=mounts[0] if mounts else "")
        answer, by = await self._fallback.ask_to_push(repository, identity, call)
        async with answer:
            if answer.status == 201:
                return False
            if answer.status != 202:
                await raise_for(answer, UpstreamBroken(f"{repository.host} has no repository {repository}"))
            where = _location(answer, blob.digest)
        body = Body(str(blob.digest), blob.size, lambda: open_at(0), on_bytes)
        put = Call("upload", "PUT", "", actions=PUSH, body=body, at=where)
        sent = await self._session.send(by.endpoint, repository.path, put, by.offered.login, attempts=ATTEMPTS)
        async with sent:
            if sent.status != 201:
                await raise_for(sent, UpstreamBroken(f"{repository.host} has lost the upload of {blob.digest}"))
        return True

    async def is_there(self, repository: Repository, digest: Digest, identity: Identity) -> bool:
        """See `Pusher.has_blob`."""
        head = Call("blob", "HEAD", f"blobs/{digest}", actions=PUSH)
        answer, _ = await self._fallback.ask_to_push(repository, identity, head)
        async with answer:
            return answer.status == 200


def _location(answer: Answer, digest: Digest) -> URL:
    target = str(answer.response.url.join(URL(answer.headers.get("Location", ""), encoded=True)))
    return URL(f"{target}{'&' if '?' in target else '?'}digest={digest}", encoded=True)
