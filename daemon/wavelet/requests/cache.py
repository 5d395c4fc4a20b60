"""The store as an administrator sees it: images by the names that have answered them, blobs, pins, and what may go.

A pin is of an image: every member of its closure is kept from eviction, those that are in the store and those that
are yet to come. An index's closure has the manifests of its platforms; the images of those that its name has answered
are pinned with it, others are not until they were pulled and it is pinned again. The same holds for a name: what it
answers later, when a tag has moved, is another image. A blob may be pinned by its digest alone.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from dataclasses import dataclass, replace

from wavelet.cluster.records import Records
from wavelet.errors import CallerError, InvalidDigest, NotFound
from wavelet.hosted.catalogue import HostedCatalogue
from wavelet.hosted.service import HostedServices
from wavelet.image.image import Image
from wavelet.image.reference import Digest, Reference
from wavelet.plan.delivery import FROZEN
from wavelet.plan.tokens import Principal
from wavelet.requests.served import ServedImage, ServedImages
from wavelet.store.content import ContentStore
from wavelet.store.pins import Pinned
from wavelet.store.room import Counted


@dataclass(frozen=True, slots=True)
class Kept:
    """An image or a blob in the store.

    Attributes:
        name: by which engines pull an image, without the authority; empty for a blob.
        digest: of the image's manifest, or of the blob; None: of a frozen name that has answered nothing here.
        size: bytes of it in the store.
        full_size: bytes of it in all; of an image, its closure.
        last_used: in unix seconds.
        pinned: whether all of it is kept from eviction until it is unpinned.
        leased_until: until when all of it that is here is kept from eviction, in unix seconds, if it is.
        pushed_by: who has pushed it to this node, if somebody has: then it is kept until it is removed.
        frozen: whether its name lasts, whether anything of it is here or not.
    """

    name: str
    digest: Digest | None
    size: int
    full_size: int
    last_used: float
    pinned: bool
    leased_until: float | None
    pushed_by: Principal | None = None
    frozen: bool = False


@dataclass(frozen=True, slots=True)
class Stats:
    """How full the store is; all but `blobs` in bytes. What was pushed to this node has a limit of its own."""

    size: int
    reserved: int
    limit: int
    free: int
    blobs: int
    pinned: int
    leased: int
    pushed: int
    pushed_limit: int


class Cache:
    """See the module. All methods are called in the loop's thread."""

    def __init__(self, store: ContentStore, served: ServedImages, hosted: HostedServices, records: Records) -> None:
        self._store = store
        self._records = records
        self._served = served
        self._hosted = hosted
        self._catalogue = HostedCatalogue(hosted.tables, hosted.pushes)

    # -- looking ------------------------------------------------------------------------------------------------------

    def images(self) -> Iterator[Kept]:
        """Yield the images of which something is in the store, and those that are pinned; the last used first.

        Those that were pushed to this node come last.
        """
        seen: set[tuple[str, Digest]] = set()
        for answered in self._served.all():
            digest = answered.image.descriptor.digest
            kept = self._kept(answered.reference, digest, _sizes(answered.image), answered.at)
            if (kept.size or kept.pinned) and (kept.name, digest) not in seen:
                seen.add((kept.name, digest))
                yield kept
        shown = {digest for _, digest in seen}
        for (name, digest), sizes in self._store.retention.pins:
            # What has answered nothing for a long time is not known by its name any more, but for its pin.
            if digest not in shown and name:
                yield self._kept(name, digest, sizes, self._last_use(digest))
        for each in self._catalogue.images():
            kept = self._kept(each.name, each.digest, each.sizes, self._last_use(each.digest))
            yield replace(kept, pushed_by=each.repository.owner)

    async def absent(self) -> AsyncIterator[Kept]:
        """Yield the frozen names that `images` does not: of which nothing is here, on whatever node they were given."""
        seen = {kept.name for kept in self.images()}
        for token in await self._records.frozen():
            stored = await self._records.get(token, patient=False)
            delivery = None if stored is None or stored.record.first else stored.record.plan.delivery
            if stored is None or delivery is None or (name := delivery.own_name(token)) in seen:
                continue
            image = self._served.frozen.image(delivery.path, delivery.tag(token))
            if image is None:
                yield Kept(name, None, 0, 0, stored.used_at, pinned=False, leased_until=None, frozen=True)
            else:
                yield self._kept(name, image.descriptor.digest, _sizes(image), stored.used_at)

    def blobs(self) -> Iterator[Kept]:
        """Yield all blobs, the last used first."""
        kept = self._store.retention
        for digest, size, used in self._store.listing():
            yield Kept("", digest, size, size, used, digest in kept.pins, kept.leased_until(digest))

    async def stats(self) -> Stats:
        """Return how full the store is."""
        store, blobs = self._store, self._store.listing()
        pinned = sum(size for digest, size, _ in blobs if digest in store.retention.pins)
        leased = sum(size for digest, size, _ in blobs if store.retention.leased_until(digest) is not None)
        pushed, limit = self._hosted.holdings.size, self._hosted.limit
        free = await store.free()
        return Stats(store.size, store.reserved, store.limit, free, len(blobs), pinned, leased, pushed, limit)

    def _kept(self, name: str, digest: Digest, sizes: Mapping[Digest, int], used: float) -> Kept:
        here = [each for each in sizes if self._store.size_of(each)]
        leases = [self._store.retention.leased_until(each) for each in here]
        until = min(filter(None, leases), default=None) if None not in leases else None
        pinned = all(each in self._store.retention.pins for each in sizes)
        size, frozen = sum(map(self._store.size_of, here)), name.startswith(f"{FROZEN}/")
        return Kept(name, digest, size, sum(sizes.values()), used, pinned, until, frozen=frozen)

    def _last_use(self, digest: Digest) -> float:
        return next((used for each, _, used in self._store.listing() if each == digest), 0.0)

    # -- keeping and removing -----------------------------------------------------------------------------------------

    async def pin(self, names: Collection[str]) -> Counted:
        """Keep what is named until it is unpinned; return the blobs of it that are here.

        What was pushed to this node is kept without that.

        Raises:
            NotFound: there is nothing of one of these names; then nothing is pinned.
        """
        kept = {name for each in self._catalogue.images() for name in (each.name, each.digest)}
        named = [each for name in names if name not in kept for each in self._named(name)]
        for each, sizes in named:
            await self._store.retention.pins.add(each, sizes)
        return self._count({digest for _, sizes in named for digest in sizes})

    async def unpin(self, names: Collection[str]) -> Counted:
        """Let be evicted again what was pinned by these names; return the blobs that are here and pinned no longer.

        An image that was pinned by several names is unpinned by its digest, or by all of them.

        Raises:
            NotFound: nothing was pinned by one of these names; then nothing is unpinned.
        """
        pins = self._store.retention.pins
        pinned = dict(pins)
        named = {name: [each for each in pinned if _is_called(each, name)] for name in names}
        for name, found in named.items():
            if not found:
                raise NotFound(f"nothing is pinned that is called {name[:300]!r}; `wavelet cache ls` says what is")
        gone = {each for found in named.values() for each in found}
        await pins.remove(gone)
        return self._count({digest for each in gone for digest in pinned[each] if digest not in pins})

    async def collect(self, names: Collection[str] = (), keep: int = 0) -> Counted:
        """Remove what is named, leased or not; of no names, the least recently used until `keep` bytes are left.

        What is pinned stays, and what something is being made of. Without names what is leased stays too, and so does
        what was pushed to this node; by its name it is removed, and cannot be had again.

        Raises:
            NotFound: there is nothing of one of these names; then nothing is removed.
        """
        if not names:
            return await self._store.room.shrink(keep)
        pushed = {name: await self._catalogue.remove(name) for name in names}
        left = [name for name in names if pushed[name] is None]
        named = [sizes for name in left for _, sizes in self._named(name)]
        gone = [each for each in pushed.values() if each is not None]
        gone.append(await self._store.room.evict(digest for sizes in named for digest in sizes))
        return Counted(sum(each.blobs for each in gone), sum(each.size for each in gone))

    def _named(self, name: str) -> list[tuple[Pinned, Mapping[Digest, int]]]:
        """Return the images that a name or digest means, with their members' sizes; or the blob."""
        answers = list(self._served.all())
        digest = _digest(name)
        found = [each for each in answers if _means(each, name, digest)]
        # With an index go those of its platforms that were pulled by the same name.
        members = {(each.name, digest) for each in found for digest in each.image.closure}
        found += [each for each in answers if (each.name, each.image.descriptor.digest) in members]
        called = "" if digest else name
        images = {(called, each.image.descriptor.digest): _sizes(each.image) for each in found}
        if not images and digest is not None and self._store.size_of(digest):
            images = {("", digest): {digest: self._store.size_of(digest)}}
        if not images:
            raise NotFound(
                f"there is nothing here that is called {name[:300]!r}; `wavelet cache ls` says what is, and "
                "`wavelet pull` brings what is not"
            )
        return list(images.items())

    def _count(self, digests: Collection[Digest]) -> Counted:
        sizes = [size for digest in digests if (size := self._store.size_of(digest))]
        return Counted(len(sizes), sum(sizes))


def _sizes(image: Image) -> dict[Digest, int]:
    return {content.descriptor.digest: content.descriptor.size for content in image.stored}


def _digest(name: str) -> Digest | None:
    try:
        return Digest.parse(name)
    except InvalidDigest:
        return None


def _means(answered: ServedImage, name: str, digest: Digest | None) -> bool:
    if digest is not None:
        return answered.image.descriptor.digest == digest
    own = answered.image.descriptor.digest
    return bool({name, _in_full(name)} & {answered.name, answered.reference, f"{answered.name}@{own}"})


def _is_called(pinned: Pinned, name: str) -> bool:
    return name in pinned or (pinned[0] != "" and _in_full(name) == _in_full(pinned[0]))


def _in_full(name: str) -> str:
    try:
        return str(Reference.parse(name))
    except CallerError:
        return name
