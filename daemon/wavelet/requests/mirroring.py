"""Images copied to a registry because somebody asks for just that: each as it is, several at a time.

What a registry has is streamed from there. What this node makes is made first, if it has to be.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import dataclass, field

from wavelet.errors import CallerError, WaveletError
from wavelet.image.reference import Reference
from wavelet.plan.node import Node
from wavelet.plan.tokens import Identity
from wavelet.push.copy import CopyResult
from wavelet.push.image_push import ImagePusher
from wavelet.push.mirror import Mirror
from wavelet.push.progress import CopyProgress
from wavelet.requests.transfer_tasks import TransferStatus, run_all
from wavelet.resolve.job import asking
from wavelet.resolve.resolver import Resolver


@dataclass(frozen=True, slots=True)
class ImageCopy:
    """The image of a plan, and what it shall be called."""

    plan: Node
    target: Reference


@dataclass(frozen=True, slots=True)
class Mirroring:
    """See the module."""

    resolver: Resolver
    mirror: Mirror
    pusher: ImagePusher

    def copy(
        self, copies: Sequence[ImageCopy], identity: Identity, *, concurrency: int, dry_run: bool = False
    ) -> AsyncGenerator[TransferStatus, None]:
        """Copy images, and yield how far they are: each at its start, as it goes, and at its end.

        One that fails stops no other. Close it at the end: what was sent whole stays, and is not sent again.

        Args:
            copies: what is copied, and where to; of an image that moves, what it is now.
            identity: who asks, with whose logins both registries are asked.
            concurrency: images at one time.
            dry_run: nothing is sent; what would be is said.
        """
        tasks = [_Copy(self, each, identity, dry_run, index) for index, each in enumerate(copies)]
        return run_all(tasks, concurrency)


@dataclass(slots=True)
class _Copy:
    services: Mirroring
    asked: ImageCopy
    identity: Identity
    dry_run: bool
    index: int
    progress: CopyProgress = field(default_factory=CopyProgress)
    result: CopyResult | None = None
    done: bool = False
    error: WaveletError | None = None

    def now(self) -> TransferStatus:
        """See `TransferTask`."""
        result, progress = self.result, self.progress
        if result is None:
            return TransferStatus(self.index, progress.bytes_done, progress.bytes_needed, error=self.error)
        sent = 0 if self.dry_run else result.bytes
        return TransferStatus(
            self.index, sent, result.bytes, result.digest, self.done, self.error, result.blobs, result.manifests
        )

    async def transfer(self) -> None:
        """See `TransferTask`."""
        with asking(keep=False):
            # One platform of an index is not the image as its registry has it.
            is_as_it_was = self.asked.plan.repository is not None and not self.asked.plan.description.platforms
            self.result = await (self._copy() if is_as_it_was else self._push())

    async def _copy(self) -> CopyResult:
        pinned = (await self.services.resolver.pinned(self.asked.plan, self.identity, refresh=True)).plan
        assert pinned.repository is not None, "a pinned image of a registry is one of a registry"
        source, target = Reference(pinned.repository, digest=pinned.digest), self.asked.target
        mirror = self.services.mirror
        with _about(target):
            if self.dry_run:
                return await mirror.plan(source, target, self.identity)
            return await mirror.copy(source, target, self.identity, self._note)

    async def _push(self) -> CopyResult:
        _, image = await self.services.resolver.realise(self.asked.plan, self.identity)
        await self.services.resolver.may_read(image, self.identity)
        target, pusher = self.asked.target, self.services.pusher
        with _about(target):
            if self.dry_run:
                return await pusher.plan(image, target, self.identity)
            return await pusher.push(image, target, self.identity, self._note)

    def _note(self, progress: CopyProgress) -> None:
        self.progress = progress


@contextlib.contextmanager
def _about(target: Reference) -> Iterator[None]:
    """Have an error of a copy name the member that says where to, unless it is the source that fails.

    Whoever asks has been let in at the source before, so what is refused is refused by the target.
    """
    try:
        yield
    except WaveletError as error:
        if not isinstance(error, CallerError) and target.repository.host not in error.message:
            raise
        raise error.with_message(f"target: {error.message}", field="target") from None
