"""Images taken in before anybody pulls them: every blob of their closures, in the store and kept there for a while."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import dataclass, field

from wavelet.concurrency import gather_all
from wavelet.errors import WaveletError
from wavelet.image.image import Content, Image
from wavelet.image.reference import Digest
from wavelet.plan.delivery import FROZEN, token_of
from wavelet.plan.node import Node
from wavelet.plan.tokens import Identity
from wavelet.requests.request import SIF_KEY, answer_name
from wavelet.requests.served import ServedImages
from wavelet.requests.transfer_tasks import TransferStatus, run_all
from wavelet.resolve.job import asking
from wavelet.resolve.resolver import Resolver
from wavelet.store.content import ContentStore, evicted
from wavelet.store.ingest import PartialBlob

BLOBS_AT_ONCE = 3
"""Blobs of one image that are fetched at one time, as container engines do it."""


class Prefetcher:
    """See the module."""

    def __init__(self, resolver: Resolver, store: ContentStore, served: ServedImages) -> None:
        self._resolver = resolver
        self._store = store
        self._served = served

    def take(
        self,
        plans: Sequence[Node],
        identity: Identity,
        *,
        concurrency: int,
        lease: float,
        names: Sequence[str] = (),
    ) -> AsyncGenerator[TransferStatus, None]:
        """Take images in, and yield how far they are: each at its start, as it goes, and at its end.

        One that fails stops no other. Close it at the end; what nobody else waits for ends then, but for fetches of
        single blobs that run already.

        Args:
            plans: what they are; of an index that names no platform, only its manifests are taken in.
            identity: who asks.
            concurrency: images at one time.
            lease: seconds for which what was taken in is kept from eviction.
            names: by which engines pull them, without the authority, one for each plan: of `conda/…`, `wt/…`,
                `frozen/…` and `sif/…`; images of registries have their own.
        """
        images = [
            _Image(self._resolver, self._store, self._served, index, plan, identity, lease, name)
            for index, (plan, name) in enumerate(zip(plans, names or [""] * len(plans), strict=True))
        ]
        return run_all(images, concurrency)


@dataclass(slots=True)
class _Image:
    resolver: Resolver
    store: ContentStore
    served: ServedImages
    index: int
    plan: Node
    identity: Identity
    lease: float
    name: str
    image: Image | None = None
    blobs: dict[Digest, PartialBlob | int] = field(default_factory=dict)
    done: bool = False
    error: WaveletError | None = None

    def now(self) -> TransferStatus:
        """See `TransferTask`."""
        if self.image is None:
            return TransferStatus(self.index, error=self.error)
        total = sum(content.descriptor.size for content in self.image.stored)
        done = sum(each.received if isinstance(each, PartialBlob) else each for each in self.blobs.values())
        return TransferStatus(self.index, done, total, self.image.descriptor.digest, self.done, self.error)

    async def transfer(self) -> None:
        """See `TransferTask`."""
        with asking(keep=False):
            key, image = await self.resolver.realise(self.plan, self.identity)
            await self.resolver.may_read(image, self.identity)
            self.image = image
            with self.store.retention.holding(image.closure):
                rest = iter(image.stored)
                await gather_all(self._open_each(rest) for _ in range(BLOBS_AT_ONCE))
                for content in image.stored:
                    self._check(content)
                self.store.lease(image.closure, time.time() + self.lease)
        answered = _answered(self.plan, self.name)
        if answered is not None:
            self.served.put(answered[0], key, answered[1])
            path, colon, tag = answered[1].rpartition(":")
            if colon and path == answered[0] and self.plan.repository is None:
                self.served.tag(path, tag, key)

    async def _open_each(self, contents: Iterator[Content]) -> None:
        for content in contents:
            blob = await self.resolver.open(content, self.identity)
            self.blobs[content.descriptor.digest] = blob if isinstance(blob, PartialBlob) else blob.size
            if isinstance(blob, PartialBlob):
                await blob.wait_committed()

    def _check(self, content: Content) -> None:
        if self.store.find(content.descriptor.digest, content.source.origin) is None:
            raise evicted(content.descriptor.digest)


def _answered(plan: Node, name: str) -> tuple[str, str] | None:
    """Return under which name `ServedImages` keeps what is pulled by `name` (without authority), and that name."""
    if name.startswith(SIF_KEY):
        rest = name.removeprefix(SIF_KEY)
        is_given = rest.partition("/")[0] in ("wt", FROZEN)
        found = _answered(plan.children[0] if plan.is_file and not is_given else plan, rest)
        return None if found is None else (f"{SIF_KEY}{found[0]}", name)
    if plan.repository is not None:
        return str(plan.repository), plan.description.image
    path, _, _ = name.partition("@")
    head, colon, tag = path.rpartition(":")
    path = head if colon and "/" not in tag else path
    first, slash, _ = path.partition("/")
    if not slash:
        return None
    if first == FROZEN and colon:
        return answer_name(token_of(tag)), name
    return "/".join(path.split("/")[:2]) if first == "wt" else path, name
