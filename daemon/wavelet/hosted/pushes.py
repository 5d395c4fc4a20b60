"""What changes hosted repositories: content that was pushed is kept, tags are set, and what is deleted is let go.

One change is made at a time, and to its end, whoever goes away meanwhile: first the bytes are in their place and held,
then the rows say so, in one commit. So what a crash leaves is whole, or is not there.
"""

from __future__ import annotations

import asyncio
import errno
import functools
import time
from collections.abc import Callable, Collection, Coroutine, Iterable
from dataclasses import dataclass
from typing import TypeVar

import structlog

from wavelet.errors import (
    BlobNotFound,
    DigestMismatch,
    ImageNotFound,
    ManifestInvalid,
    NoSpace,
    OurError,
    WaveletError,
)
from wavelet.hosted import policy, tables
from wavelet.hosted.holdings import Holdings
from wavelet.hosted.metrics import RECEIVED_BYTES, UPLOADS
from wavelet.hosted.model import HostedRepository, Pushed, read_pushed
from wavelet.hosted.notes import PushNotes
from wavelet.hosted.tables import Tables
from wavelet.image.reference import Digest
from wavelet.plan.tokens import ANONYMOUS
from wavelet.store.content import ContentStore
from wavelet.store.database import Database, Statement
from wavelet.store.room import Counted
from wavelet.store.upload import Upload

log = structlog.get_logger()

T = TypeVar("T")

CHECKED_AT_ONCE = 64
"""Members of a manifest that are looked up before others have their turn; 4 MiB name 25,000."""


@dataclass(frozen=True, slots=True)
class PutManifest:
    """A manifest that was pushed: its digest, and what it refers to."""

    digest: Digest
    subject: Digest | None


class HostedPushes:
    """See the module. For the loop's thread."""

    def __init__(
        self, database: Database, rows: Tables, store: ContentStore, holdings: Holdings, notes: PushNotes
    ) -> None:
        self._database = database
        self._rows = rows
        self._store = store
        self._holdings = holdings
        self._notes = notes
        self._changing = asyncio.Lock()
        self._tasks: set[asyncio.Task[object]] = set()

    async def close(self) -> None:
        """End the changes that have begun."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _to_its_end(self, change: Callable[[], Coroutine[object, object, T]]) -> T:
        async def run() -> T:
            async with self._changing:
                try:
                    return await change()
                except OSError as error:
                    raise of_disk(error) from error

        task = asyncio.create_task(run(), name="change hosted repositories")
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return await asyncio.shield(task)

    def _done(self, task: asyncio.Task[T]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # whoever began it may be gone

    # -- keeping ------------------------------------------------------------------------------------------------------

    async def keep_blob(
        self, repository: HostedRepository, upload: Upload, digest: Digest, on_held: Callable[[], None]
    ) -> None:
        """Keep what was uploaded, which has this digest, as a blob of a repository.

        `on_held` is called once its bytes are counted as held, so that they are not as arriving any more.

        Raises:
            NoSpace: the limit is reached.
        """
        size = upload.size

        async def change() -> None:
            known = self._rows.blob_size(repository, digest) is not None
            written = tables.put_blob(repository, digest, size, time.time())
            await self._keep(repository, upload, digest, written, on_held, known=known)

        await self._to_its_end(change)
        UPLOADS.labels("kept").inc()

    async def put_manifest(
        self, repository: HostedRepository, reference: str | Digest, data: bytes, content_type: str, tags: Iterable[str]
    ) -> PutManifest:
        """Keep a document by its digest, or under a tag; `tags` are further ones.

        Raises:
            ManifestInvalid: it is no manifest.
            DigestMismatch: it does not have the digest.
            BlobNotFound: what it names is not in the repository.
            NoSpace, OurError: the limit is reached, or nothing can be written.
        """
        pushed = read_pushed(data, content_type)
        algorithm = reference.algorithm if isinstance(reference, Digest) else "sha256"
        digest = Digest.of(data, algorithm)
        if isinstance(reference, Digest) and digest != reference:
            raise DigestMismatch(f"the manifest has the digest {digest} instead of {reference}")
        named = [*(() if isinstance(reference, Digest) else (reference,)), *tags]

        async def change() -> None:
            await self._check_members(repository, pushed)
            known = self._rows.manifest(repository, digest) is not None
            self._holdings.check(digest, len(data))
            written = tables.put_manifest(repository, digest, len(data), pushed, named, time.time())
            upload = self._store.owned.begin()
            try:
                await upload.append([data], len(data))
                await self._keep(repository, upload, digest, written, _nothing, known=known)
            finally:
                upload.drop()

        try:
            await self._to_its_end(change)
        except BlobNotFound:
            await self._take_shared(repository, pushed)
            await self._to_its_end(change)
        RECEIVED_BYTES.inc(len(data))
        if named:  # members of an index come by their digests, and are asked for behind it
            await self._notes.pushed(repository, [digest, *named])
        return PutManifest(digest, pushed.subject)

    async def _take_shared(self, repository: HostedRepository, pushed: Pushed) -> None:
        """Give a repository what it lacks of a document's members, and everybody's of the same name has.

        Whoever pushes was told that they are there, since the name is read from both, and so has not sent them.
        """
        shared = HostedRepository(ANONYMOUS, repository.path)
        wanted = {each.digest for each in (*pushed.blobs, *pushed.manifests)} if repository != shared else ()
        for number, digest in enumerate(wanted, 1):
            if number % CHECKED_AT_ONCE == 0:
                await asyncio.sleep(0)
            if not self._has(repository, digest):
                await self._take_one(repository, shared, digest)

    async def _take_one(self, repository: HostedRepository, shared: HostedRepository, digest: Digest) -> None:
        size, manifest = self._rows.blob_size(shared, digest), self._rows.manifest(shared, digest)
        if size is not None:
            await self.mount(repository, digest, size, shared.source.origin)
        elif manifest is not None:
            data = await self._store.read(digest, shared.source.origin)
            if data is not None:
                await self.put_manifest(repository, digest, data, manifest.descriptor.media_type, ())

    async def _check_members(self, repository: HostedRepository, pushed: Pushed) -> None:
        wanted = {(each.digest, each.size) for each in (*pushed.blobs, *pushed.manifests)}
        for number, (digest, said) in enumerate(wanted, 1):
            if number % CHECKED_AT_ONCE == 0:
                await asyncio.sleep(0)
            # An index may name what was pushed as a blob (image-spec, image-index.md).
            manifest = self._rows.manifest(repository, digest) if pushed.manifests else None
            size = self._rows.blob_size(repository, digest) if manifest is None else manifest.descriptor.size
            if size is None or self._store.find(digest, repository.source.origin) is None:
                raise BlobNotFound(
                    f"{repository.name} does not have {digest}, which the manifest names: push that first"
                )
            if size != said:
                raise ManifestInvalid(f"{digest} has {size} bytes, and not {said} as the manifest says")

    async def _keep(
        self,
        repository: HostedRepository,
        upload: Upload,
        digest: Digest,
        written: list[Statement],
        on_held: Callable[[], None],
        *,
        known: bool,
    ) -> None:
        """Put bytes into their place, and note that; `known` is whether the repository has them by its rows."""
        size = upload.size
        if not known:
            self._holdings.add(digest, size)
        on_held()
        try:
            await self._store.owned.take(upload, digest, repository.source.origin)
            await self._database.write(written)
        except BaseException:
            if not known:
                self._holdings.remove(digest, size)
            raise

    async def mount(self, target: HostedRepository, digest: Digest, size: int, origin: str) -> bool:
        """Give a repository a blob that the store has from `origin`, which the caller may read; tell whether it has it.

        Raises:
            NoSpace: the limit is reached.
        """

        async def change() -> bool:
            if self._rows.blob_size(target, digest) is not None:
                return self._store.find(digest, target.source.origin) is not None
            self._holdings.check(digest, size)
            self._holdings.add(digest, size)
            kept = False
            try:
                if await self._store.owned.lend(digest, origin, target.source.origin):
                    await self._database.write(tables.put_blob(target, digest, size, time.time()))
                    kept = True
            finally:
                if not kept:
                    self._holdings.remove(digest, size)
            return kept

        mounted = await self._to_its_end(change)
        if mounted:
            UPLOADS.labels("mounted").inc()
        return mounted

    # -- letting go ---------------------------------------------------------------------------------------------------

    async def delete_tag(self, repository: HostedRepository, tag: str) -> Digest:
        """Remove a tag, and return what it named, which stays for a while.

        Raises:
            ImageNotFound: there is none.
        """

        async def change() -> Digest:
            digest = self._rows.tagged(repository, tag)
            if digest is None:
                raise ImageNotFound(f"{repository.name} has no tag {tag[:128]!r} of yours")
            await self._database.write(tables.delete_tag(repository, tag))
            return digest

        digest = await self._to_its_end(change)
        await self._notes.removed(repository, [tag])
        return digest

    async def delete_manifest(self, repository: HostedRepository, digest: Digest) -> None:
        """Remove a manifest with its tags, and the blobs that no other one of the repository names.

        Raises:
            ImageNotFound: there is none.
        """

        async def change() -> list[str]:
            if self._rows.manifest(repository, digest) is None:
                raise ImageNotFound(f"{repository.name} has no manifest {digest} of yours")
            tags = [tag for tag, named in self._rows.tags(repository).items() if named == digest]
            await self._remove(repository, {digest})
            return tags

        await self._notes.removed(repository, [digest, *await self._to_its_end(change)])

    async def delete_blob(self, repository: HostedRepository, digest: Digest) -> None:
        """Remove a blob of a repository, whether or not a manifest names it.

        Raises:
            BlobNotFound: there is none.
        """

        async def change() -> None:
            if self._rows.blob_size(repository, digest) is None:
                raise BlobNotFound(f"{repository.name} has no blob {digest} of yours")
            await self._forget(repository, (), {digest})

        await self._to_its_end(change)

    async def remove_image(self, repository: HostedRepository, reference: str | Digest) -> Counted:
        """Remove an image with all of the repository that it alone leads to; of a tag among several, the tag alone.

        Return what of it has left the store.
        """

        async def change() -> tuple[list[str | Digest], Counted]:
            manifests, tags = self._rows.manifests(repository), self._rows.tags(repository)
            root = reference if isinstance(reference, Digest) else tags.get(reference)
            left = {tag: digest for tag, digest in tags.items() if reference not in (tag, digest)}
            untagged = tags.keys() - left.keys()
            await self._database.write([each for tag in untagged for each in tables.delete_tag(repository, tag)])
            if root is None or root in left.values():
                return [*untagged], Counted(0, 0)
            gone = policy.without(manifests, set(left.values()), root)
            return [*untagged, *gone], await self._remove(repository, gone)

        names, counted = await self._to_its_end(change)
        await self._notes.removed(repository, names)
        return counted

    async def expire(self) -> None:
        """Let go of what no tag leads to, and no push will name any more."""

        async def change(repository: HostedRepository) -> None:
            now = time.time()
            gone = policy.expired(self._rows.manifests(repository), set(self._rows.tags(repository).values()), now)
            await self._remove(repository, gone)
            unnamed = policy.unnamed(self._rows.blobs(repository), self._rows.manifests(repository), now)
            await self._forget(repository, (), unnamed)

        for repository in self._rows.repositories():
            try:
                await self._to_its_end(functools.partial(change, repository))
            except WaveletError as error:
                log.warning("what was pushed could not be removed", repository=repository.name, because=error.message)

    async def _remove(self, repository: HostedRepository, gone: Collection[Digest]) -> Counted:
        """Remove manifests with their tags, and the blobs that they alone name."""
        manifests, blobs = self._rows.manifests(repository), self._rows.blobs(repository)
        named = {each for digest, kept in manifests.items() if digest not in gone for each in kept.members}
        theirs = {each for digest in gone for each in manifests[digest].members if each in blobs}
        return await self._forget(repository, gone, theirs - named)

    async def _forget(
        self, repository: HostedRepository, manifests: Collection[Digest], blobs: Collection[Digest]
    ) -> Counted:
        sizes: list[tuple[Digest, int]] = []
        statements: list[Statement] = []
        for digest in manifests:
            found = self._rows.manifest(repository, digest)
            if found is not None:
                sizes.append((digest, found.descriptor.size))
                statements += tables.delete_manifest(repository, digest)
        for digest in blobs:
            size = self._rows.blob_size(repository, digest)
            if size is not None:
                sizes.append((digest, size))
                statements += tables.delete_blob(repository, digest)
        if not statements:
            return Counted(0, 0)
        await self._database.write(statements)
        for digest, size in sizes:
            self._holdings.remove(digest, size)
        left = [digest for digest, _ in sizes if not self._has(repository, digest)]
        return await self._store.owned.disown(left, repository.source.origin)

    def _has(self, repository: HostedRepository, digest: Digest) -> bool:
        return (
            self._rows.blob_size(repository, digest) is not None or self._rows.manifest(repository, digest) is not None
        )


def of_disk(error: OSError) -> WaveletError:
    """Return what is said where the disk does not take what is pushed."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return NoSpace("the disk of the state directory is full; free some of it, or push less")
    return OurError(f"the state directory cannot be written: {error.strerror}")


def _nothing() -> None:
    """Do nothing."""
