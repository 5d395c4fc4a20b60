"""The client of registries and URLs: what the other rooms ask, and what they get.

Every answer says to whom it was granted. Errors are of three kinds that their sentences keep apart: the server cannot
be reached, it refuses, it has no such thing.
"""

from __future__ import annotations

import asyncio
import functools
import os
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Self

import structlog

from wavelet.config import Apply, Settings
from wavelet.errors import (
    BlobNotFound,
    InvalidRequest,
    UpstreamBroken,
)
from wavelet.image.image import MANIFEST_LIMIT
from wavelet.image.reference import Digest, Reference, Repository, valid_host
from wavelet.plan.tokens import Identity, Login
from wavelet.upstream import endpoints, listing
from wavelet.upstream.addresses import FOR_REGISTRIES, AddressPolicy
from wavelet.upstream.auth import LoginError
from wavelet.upstream.credential_sources import Granted
from wavelet.upstream.credentials import Logins
from wavelet.upstream.endpoints import check_mirrors, private_allowed
from wavelet.upstream.fallback import CredentialFallback, Decider, Question
from wavelet.upstream.lists import Lists
from wavelet.upstream.locations import Locations
from wavelet.upstream.manifests import FetchedManifest, Found, manifest_call, read_head, read_manifest, stated_length
from wavelet.upstream.own import OwnRegistry
from wavelet.upstream.pusher import Pusher
from wavelet.upstream.retry import ATTEMPTS, HostLimiter
from wavelet.upstream.session import Call, RegistrySession
from wavelet.upstream.streams import Answer, Stream, open_encoded, open_stream, raise_for, wanted
from wavelet.upstream.transport import Transport
from wavelet.upstream.trust import load_trust

_log = structlog.get_logger(__name__)


class Upstream:
    """Registries and URLs. Used as a context, or between `start` and `close`.

    Attributes:
        pusher: what is pushed to registries.
    """

    def __init__(self, settings: Settings, logins: Logins, own: OwnRegistry | None = None) -> None:
        """`own` is asked for what this daemon has itself."""
        check_mirrors(settings)
        self._own = own
        self._settings = settings
        self._logins = logins
        self._transport = Transport()
        self._limiter = limiter = HostLimiter(settings)
        self._session = RegistrySession(settings, self._transport, limiter, FOR_REGISTRIES)
        self._fallback = CredentialFallback(settings, logins, self._session)
        named = AddressPolicy(private=private_allowed(settings))
        self._named_session = RegistrySession(settings, self._transport, limiter, named, shows_login=True)
        self.pusher = Pusher(self._fallback, self._session)
        self._lists = Lists(self._fallback, self.manifest)
        self._locations = Locations(self._transport, limiter, named)

    async def start(self) -> None:
        """Read the authorities that the settings name.

        Raises:
            ConfigError: see `configure`.
        """
        apply = await asyncio.to_thread(self.configure, self._settings)
        if unread := endpoints.check(os.environ):
            _log.warning("a proxy is not used", because=unread)
        apply()

    def configure(self, settings: Settings) -> Apply:
        """See `Configurable`: where and how registries are asked, and what the settings name for that.

        Raises:
            ConfigError: a mirror is no URL, an authority cannot be read, or the environment's proxy cannot be used.
        """
        check_mirrors(settings)
        endpoints.check(os.environ)
        contexts = load_trust(settings)
        named = AddressPolicy(private=private_allowed(settings))

        def apply() -> None:
            self._limiter.adopt(settings)
            self._session.adopt(settings, contexts, FOR_REGISTRIES)
            self._named_session.adopt(settings, contexts, named)
            self._fallback.settings = settings
            self._locations.policy = named

        return apply

    async def logins_version(self, identity: Identity) -> str:
        """Return what changes when the logins of an identity do; empty if it has none of its own."""
        return await self._logins.version(identity)

    async def close(self) -> None:
        """End all pushes, and close all connections."""
        await self.pusher.close()
        await self._transport.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def _own_of(self, repository: Repository) -> OwnRegistry | None:
        return self._own if self._own is not None and self._own.has(repository) else None

    async def head(self, reference: Reference, identity: Identity) -> Found:
        """Return what `reference` names, by HEAD, or by GET where a registry answers too little to HEAD.

        Raises:
            ImageNotFound, AccessRefused: definite answers.
            UpstreamError: no answer, or one that cannot be right.
        """
        if (own := self._own_of(reference.repository)) is not None:
            return await own.head(reference, identity)

        async def read(answer: Answer, granted: Granted) -> Found | None:
            async with answer:
                return read_head(answer, reference, granted)

        async def read_whole(answer: Answer, granted: Granted) -> Found | None:
            return (await read_manifest(answer, granted, reference)).found

        head, get = (manifest_call(reference, method) for method in ("HEAD", "GET"))
        question = Question(reference.repository, identity, head, read, Decider(get, read_whole))
        found = await self._fallback.ask(question)
        return found or (await self.manifest(reference, identity)).found

    async def manifest(self, reference: Reference, identity: Identity) -> FetchedManifest:
        """Return the manifest or index that `reference` names, verified where it has a digest.

        Raises:
            ImageNotFound, AccessRefused, UpstreamError: as `head`.
        """
        if (own := self._own_of(reference.repository)) is not None:
            return await own.manifest(reference, identity)

        async def read(answer: Answer, granted: Granted) -> FetchedManifest:
            return await read_manifest(answer, granted, reference)

        call = manifest_call(reference, "GET")
        return await self._fallback.ask(Question(reference.repository, identity, call, read))

    @asynccontextmanager
    async def blob(
        self, repository: Repository, digest: Digest, identity: Identity, offset: int = 0
    ) -> AsyncIterator[Stream]:
        """Open a blob's bytes from `offset` on; they are not verified here. The stream says where it really starts.

        Raises:
            BlobNotFound, AccessRefused, UpstreamError: as `head`.
        """
        if (own := self._own_of(repository)) is not None:
            async with own.blob(repository, digest, identity, offset) as here:
                yield here
            return

        async def read(answer: Answer, granted: Granted) -> Stream | None:
            if answer.status == 416 and offset:
                answer.close()
                return None
            if answer.status not in (200, 206):
                await raise_for(answer, _no_blob(answer, repository, digest))
            failed = functools.partial(self._fallback.rest, answer.endpoint)
            if not answer.is_encoded or offset > MANIFEST_LIMIT:
                return open_stream(answer, offset, granted, failed)
            if answer.status == 200:
                return await open_encoded(answer, digest, granted, failed)
            answer.close()  # a part of something encoded says nothing of where it is in the content
            return None

        call = Call("blob", "GET", f"blobs/{digest}", headers=wanted(offset))
        stream = await self._fallback.ask(Question(repository, identity, call, read))
        async with self.blob(repository, digest, identity) if stream is None else _closing(stream) as opened:
            yield opened

    async def blob_size(self, repository: Repository, digest: Digest, identity: Identity) -> tuple[int | None, Granted]:
        """Return the size in bytes of a blob that is there, None where the registry does not say.

        Raises:
            BlobNotFound, AccessRefused, UpstreamError: as `head`.
        """
        if (own := self._own_of(repository)) is not None:
            return await own.blob_size(repository, digest, identity)

        async def read(answer: Answer, granted: Granted) -> tuple[int | None, Granted]:
            async with answer:
                if answer.status != 200:
                    await raise_for(answer, _no_blob(answer, repository, digest))
                return stated_length(answer), granted

        head, get = (Call("blob", method, f"blobs/{digest}") for method in ("HEAD", "GET"))
        size, granted = await self._fallback.ask(Question(repository, identity, head, read, Decider(get, read)))
        if size is None:
            async with self.blob(repository, digest, identity) as stream:
                return stream.size, stream.granted
        return size, granted

    async def tags(
        self, repository: Repository, identity: Identity, n: int | None, last: str | None
    ) -> tuple[list[str], bool]:
        """Return up to `n` tags after `last` in the registry's order, and whether there are more.

        Raises:
            ImageNotFound, AccessRefused, UpstreamError: as `head`.
        """
        if (own := self._own_of(repository)) is not None:
            return await own.tags(repository, identity, n, last)
        return await self._lists.tags(repository, identity, n, last)

    async def referrers(self, repository: Repository, digest: Digest, identity: Identity) -> listing.Referrers:
        """Return what refers to `digest`: the referrers API's list, or, where there is none, the fall-back tag's.

        Raises:
            AccessRefused, UpstreamError: as `head`; not where a mirror has answered that is all that can be asked.
        """
        if (own := self._own_of(repository)) is not None:
            return await own.referrers(repository, digest, identity)
        return await self._lists.referrers(repository, digest, identity)

    def location(self, url: str, offset: int = 0) -> AbstractAsyncContextManager[Stream]:
        """Open what a URL of a request has, from `offset` on, under the address policy at every redirect.

        Raises:
            InvalidRequest: not an http(s) URL, or one to an address that the policy forbids.
            NotFound, AccessRefused: definite answers.
            UpstreamError: no answer.
        """
        return self._locations.open(url, offset)

    async def check_login(self, host: str, login: Login) -> bool:
        """Tell whether the registry `host` accepts `login`. The address policy for URLs in requests holds.

        Raises:
            InvalidRequest: not a host, or at an address that the policy forbids.
            UpstreamError: no answer.
        """
        if not valid_host(host):
            raise InvalidRequest(f"{host!r} is not a registry host", field="registry")
        session = self._named_session
        endpoint = await session.endpoint(Reference.parse(f"{host}/x/y").repository.host)
        try:
            async with await session.send(endpoint, "", Call("login", "GET", ""), login, attempts=ATTEMPTS) as answer:
                if answer.status in (401, 403):
                    return False
                if answer.status != 200:
                    await raise_for(answer, UpstreamBroken(f"{host} has no registry"))
                return True
        except LoginError:
            return False


def _no_blob(answer: Answer, repository: Repository, digest: Digest) -> BlobNotFound:
    return BlobNotFound(f"{answer.endpoint.host} has no blob {digest} in {repository}")


@asynccontextmanager
async def _closing(stream: Stream) -> AsyncIterator[Stream]:
    try:
        yield stream
    finally:
        await stream.close()
