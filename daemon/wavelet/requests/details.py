"""The log of a request, its exact packages, and all that it takes to ask for it again."""

from __future__ import annotations

from wavelet.cluster.records import Records
from wavelet.errors import BlobNotFound, NotFound
from wavelet.image.reference import Digest, Platform
from wavelet.kinds.conda.locks.write import LockForm
from wavelet.kinds.conda.service import PackageLocks
from wavelet.plan.node import INLINE, Node, layers
from wavelet.plan.tokens import Identity
from wavelet.requests.deliveries import journal_key
from wavelet.requests.lookup import RequestLookup
from wavelet.requests.request import localised, notes_of
from wavelet.resolve.events import Journals
from wavelet.resolve.resolver import Resolver


class RequestDetails:
    """Tells of requests. Errors of all methods are those of `RequestLookup.visible`, and what they name."""

    def __init__(
        self, lookup: RequestLookup, records: Records, resolver: Resolver, locks: PackageLocks, journals: Journals
    ) -> None:
        self._lookup = lookup
        self._records = records
        self._resolver = resolver
        self._locks = locks
        self._journals = journals

    async def asked(self, token: str, identity: Identity) -> tuple[Node, dict[Digest, bytes]]:
        """Return what a request asked for, with the bytes of its inline layers, so that it can be asked for again.

        Raises:
            BlobNotFound: its inline layers are no longer beside it.
        """
        plan = (await self._lookup.visible(token, identity)).request.plan
        inline = {}
        for layer in layers(plan):
            if layer.location.startswith(INLINE):
                content = await self._records.inline(token, layer.digest)
                if content is None:
                    raise BlobNotFound(
                        f"the inline layer {layer.digest} is no longer beside its request; send it again"
                    )
                inline[layer.digest] = content
        return localised(plan, ""), inline

    async def log(self, token: str, identity: Identity) -> str:
        """Return the notes on a request, and the log of what is, or was, made for it; empty if there is neither."""
        request = (await self._lookup.visible(token, identity)).request
        delivered = self._journals.read(journal_key(token)) or ""
        return notes_of(request) + self._resolver.log(request.plan, request.fixed) + delivered

    async def lock(self, token: str, identity: Identity, form: LockForm, platform: Platform | None) -> str:
        """Return the exact packages of a request as a lock file.

        Raises:
            NotFound: it has no packages, or they are not decided yet.
            WaveletError: they cannot be had.
        """
        request = (await self._lookup.visible(token, identity)).request
        owner = Identity.of(request.principal)
        plan = request.fixed or request.plan
        lock = await self._locks.lock_file(plan, form, platform, lambda node: self._resolver.work_for(node, owner))
        if lock is None:
            raise NotFound("there is no lock: this request has no packages, or they are not solved for yet")
        return lock
