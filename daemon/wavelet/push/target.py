"""The target of a copy: one repository of a registry, the name that the image gets there, and who asks for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from wavelet.errors import AccessRefused, InvalidRequest, UpstreamBroken
from wavelet.image.image import Descriptor
from wavelet.image.reference import Digest, Reference, Repository
from wavelet.plan.tokens import Identity
from wavelet.push.pushed_blobs import PushedBlobs
from wavelet.upstream.pusher import Pusher, PushSource


@dataclass(frozen=True, slots=True)
class Target:
    """See the module. Without a tag, the image is there under its digest alone."""

    pusher: Pusher
    pushed: PushedBlobs
    reference: Reference
    identity: Identity

    @property
    def repository(self) -> Repository:
        """The repository that is pushed to."""
        return self.reference.repository

    def name_of(self, root: Digest) -> str:
        """Return the tag or digest that an image gets.

        Raises:
            InvalidRequest: the target names another digest.
        """
        digest = self.reference.digest
        if digest not in (None, root):
            raise InvalidRequest(f"{self.reference} cannot be the name of an image with the digest {root}")
        return self.reference.tag or root

    async def answers(self, root: Digest) -> bool:
        """Tell whether the image is there already under its name."""
        return await self._digest_of(self.name_of(root)) == root

    async def has_document(self, digest: Digest) -> bool:
        """Tell whether there is a manifest or index with a digest."""
        return await self._digest_of(digest) is not None

    async def _digest_of(self, name: str) -> Digest | None:
        """Ask what is there. A refusal is no answer: whether a login may push, and if not, why, the pushes show."""
        try:
            found = await self.pusher.has_manifest(self.repository, name, self.identity)
        except (AccessRefused, UpstreamBroken):
            return None
        return None if found is None else found.digest

    async def has_blob(self, blob: Descriptor) -> bool:
        """Tell whether there is a blob."""
        return await self.pusher.has_blob(self.repository, blob.digest, self.identity)

    async def put_document(self, name: str, document: Descriptor, data: bytes) -> None:
        """Put a manifest or index under a tag or its digest."""
        await self.pusher.push_manifest(self.repository, name, data, document.media_type, self.identity)

    async def put_blob(
        self, source: PushSource, mount_from: Sequence[Repository], on_bytes: Callable[[int], None]
    ) -> bool:
        """Have a blob there; tell whether its bytes had to be sent."""
        digest = source.descriptor.digest
        async with self.pushed.turn(self.repository, digest, self.identity) as elsewhere:
            places = dict.fromkeys([*mount_from, *elsewhere])
            places.pop(self.repository, None)
            was_sent = await self.pusher.push_blob(
                self.repository, source, self.identity, mount_from=[*places], on_bytes=on_bytes
            )
            self.pushed.add(self.repository, digest, self.identity)
        return was_sent
