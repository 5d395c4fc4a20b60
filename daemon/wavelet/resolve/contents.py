"""Content by its source: from the store, or fetched from where it comes, with a broken connection resumed by Range."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack

from wavelet.cluster.records import Records
from wavelet.errors import BlobNotFound, DigestMismatch, TooLarge, UpstreamBroken, UpstreamUnreachable, WaveletError
from wavelet.image.digest import Digest
from wavelet.image.image import Content, FromLocation, FromUpstream, Source
from wavelet.image.manifest import Descriptor, Family
from wavelet.image.reference import Repository
from wavelet.plan.identity import Identity
from wavelet.plan.plan import INLINE, Layer
from wavelet.resolve.inflate import diff_id_of, file_blocks
from wavelet.resolve.metrics import CONTENT, FETCHED_BYTES, LOCATION
from wavelet.store.content import Committed, ContentStore, Incoming, Opener
from wavelet.store.database import Database
from wavelet.store.growing import Growing
from wavelet.upstream.client import Stream, Upstream
from wavelet.upstream.metrics import label_of

SCHEMA = """
CREATE TABLE IF NOT EXISTS layers (origin TEXT, digest TEXT, diff_id TEXT, size INTEGER, PRIMARY KEY (origin, digest))
WITHOUT ROWID;
"""

RESUMES = 5
"""How often a broken transfer is taken up again before it fails."""

RESUME_DELAY = 0.2
"""Seconds before the first resumption; doubled for each further one."""


OpenAt = Callable[[int], AbstractAsyncContextManager[Stream]]
"""Opens one connection to a source, at an offset."""


class Contents:
    """Opens members of closures, and verifies the layers that requests name."""

    def __init__(
        self, store: ContentStore, upstream: Upstream, records: Records, database: Database, *, inflated_limit: int
    ) -> None:
        self._store = store
        self._upstream = upstream
        self._records = records
        self._database = database
        self._inflated_limit = inflated_limit

    def find(self, content: Content) -> Committed | Growing | None:
        """Return a member of a closure if the store has it from its source."""
        return self._store.find(content.descriptor.digest, content.source.origin)

    async def fetch(self, content: Content, identity: Identity) -> Growing:
        """Start to fetch a member of a closure from its upstream or location, or join the fetch that runs.

        Raises:
            NoSpace: no room can be made.
        """
        descriptor, source = content.descriptor, content.source
        if isinstance(source, FromUpstream):
            opener = self._from_upstream(source.repository, descriptor.digest, identity)
            return await self._store.ingest(descriptor.digest, descriptor.size, source.origin, opener)
        assert isinstance(source, FromLocation)
        return await self._fetch_layer(source, descriptor.digest, descriptor.size)

    async def fetch_unnamed(
        self, repository: Repository, digest: Digest, size: int | None, identity: Identity
    ) -> Growing:
        """Fetch a blob that no manifest known here names."""
        opener = self._from_upstream(repository, digest, identity)
        return await self._store.ingest(digest, size, str(repository), opener)

    def _from_upstream(self, repository: Repository, digest: Digest, identity: Identity) -> Opener:
        return _resuming(lambda offset: self._upstream.blob(repository, digest, identity, offset), repository.host)

    async def _fetch_layer(self, source: FromLocation, digest: Digest, size: int | None) -> Growing:
        opener = self._inline(source, digest) if source.location.startswith(INLINE) else self._at(source.location)
        return await self._store.ingest(digest, size, source.origin, opener, _mismatch(source.location))

    def _at(self, url: str) -> Opener:
        return _resuming(lambda offset: self._upstream.location(url, offset), LOCATION)

    def _inline(self, source: FromLocation, digest: Digest) -> Opener:
        @contextlib.asynccontextmanager
        async def opener(offset: int) -> AsyncIterator[Incoming]:
            data = await self._records.inline(source.location.removeprefix(INLINE), digest)
            if data is None:
                raise BlobNotFound(f"the inline layer {digest} is no longer beside its request; send the request again")

            async def chunks() -> AsyncIterator[bytes]:
                yield data[offset:]

            yield Incoming(offset, len(data), chunks(), public=False)

        return opener

    # -- layers that requests name ------------------------------------------------------------------------------------

    async def layer(self, layer: Layer) -> Content:
        """Return a named layer as content, once its bytes have come from its location and are what was said of them.

        Raises:
            DigestMismatch: `gzipDigest`, `gzipSize` or `tarDigest` is wrong.
            TooLarge: it inflates to more than the limit.
            WaveletError: it cannot be had.
        """
        source = FromLocation(layer.location, layer.diff_id)
        known = self.known_layer(layer)
        if known is None:
            blob = self._store.find(layer.digest, source.origin) or await self._fetch_layer(
                source, layer.digest, layer.size
            )
            if isinstance(blob, Growing):
                await blob.wait_committed()
            committed = self._store.find(layer.digest, source.origin)
            if not isinstance(committed, Committed):
                raise UpstreamUnreachable(f"the layer {layer.digest} did not stay in the store; ask again")
            limit = self._inflated_limit
            diff_id = await asyncio.to_thread(lambda: diff_id_of(file_blocks(committed.path), limit))
            check_diff_id(layer, diff_id)
            known = committed.size
            await self.remember_layer(layer, known)
        if layer.size not in (None, known):
            raise DigestMismatch(
                f"containerConfig.layers: gzipSize says {layer.size}, but {layer.digest} has {known} bytes",
                field="containerConfig.layers.gzipSize",
            )
        return Content(Descriptor(Family.OCI.layer(), layer.digest, known), source)

    def known_layer(self, layer: Layer) -> int | None:
        """Return the size of a layer that was verified before, from this location."""
        origin = FromLocation(layer.location, layer.diff_id).origin
        rows = self._database.read(
            "SELECT diff_id, size FROM layers WHERE origin = ? AND digest = ?", origin, layer.digest
        )
        return rows[0][1] if rows and rows[0][0] == layer.diff_id else None

    async def remember_layer(self, layer: Layer, size: int) -> None:
        """Note that a layer of `size` bytes was verified from its location."""
        origin = FromLocation(layer.location, layer.diff_id).origin
        row = (origin, layer.digest, layer.diff_id, size)
        await self._database.write([("INSERT OR REPLACE INTO layers VALUES (?, ?, ?, ?)", row)])


def check_diff_id(layer: Layer, diff_id: Digest) -> None:
    """Compare what a layer inflates to with what the request says.

    Raises:
        DigestMismatch: they differ.
    """
    if diff_id != layer.diff_id:
        raise DigestMismatch(
            f"containerConfig.layers: tarDigest says {layer.diff_id}, but {layer.digest} inflates to {diff_id}",
            field="containerConfig.layers.tarDigest",
        )


def count(source: Source, outcome: str) -> None:
    """Count that content was opened, and how."""
    CONTENT.labels(outcome, label_of(source.repository.host) if isinstance(source, FromUpstream) else LOCATION).inc()


def _mismatch(location: str) -> Callable[[str], WaveletError]:
    def blame(message: str) -> WaveletError:
        kind = TooLarge if "more bytes" in message else DigestMismatch
        return kind(f"containerConfig.layers: {message} (from {_shown(location)})", field="containerConfig.layers")

    return blame


def _shown(location: str) -> str:
    return "the request" if location.startswith(INLINE) else location.partition("?")[0]


def _resuming(open_at: OpenAt, label: str) -> Opener:
    @contextlib.asynccontextmanager
    async def opener(offset: int) -> AsyncIterator[Incoming]:
        async with AsyncExitStack() as stack:
            first = await stack.enter_async_context(open_at(offset))
            transfer = _Transfer(open_at, stack, first, offset, label)
            yield Incoming(offset, first.size, transfer.chunks(), public=first.granted.public)

    return opener


class _Transfer:
    """One blob's bytes over as many connections as it takes."""

    def __init__(
        self,
        open_at: OpenAt,
        stack: AsyncExitStack,
        first: Stream,
        offset: int,
        label: str,
    ) -> None:
        self._fetched = FETCHED_BYTES.labels(label_of(label))
        self._open_at = open_at
        self._stack = stack
        self._stream = first
        self._position = offset

    async def chunks(self) -> AsyncIterator[bytes]:
        resumes = 0
        while True:
            try:
                async for chunk in self._rest_of_stream():
                    yield chunk
                size = self._stream.size
                if size is not None and self._position < size:
                    raise UpstreamUnreachable(f"the transfer ended after {self._position} of {size} bytes")
            except UpstreamUnreachable:
                resumes += 1
                if resumes > RESUMES:
                    raise
                await asyncio.sleep(RESUME_DELAY * 2 ** (resumes - 1))
                await self._reopen()
            else:
                return

    async def _rest_of_stream(self) -> AsyncIterator[bytes]:
        skip = self._position - self._stream.offset
        if skip < 0:
            raise UpstreamBroken(f"asked for bytes from {self._position}, it sent those from {self._stream.offset}")
        async for chunk in self._stream.chunks:
            kept = chunk[skip:] if skip else chunk
            skip = max(0, skip - len(chunk))
            if kept:
                self._position += len(kept)
                self._fetched.inc(len(kept))
                yield kept

    async def _reopen(self) -> None:
        await self._stack.aclose()
        self._stream = await self._stack.enter_async_context(self._open_at(self._position))
