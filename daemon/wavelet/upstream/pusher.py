"""The client side of pushes to registries: blobs that are missing, and manifests, as the distribution-spec has it.

What is pushed goes to the registry itself and never to a mirror, with the caller's logins and then the site's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from wavelet.concurrency import SingleFlight
from wavelet.errors import AccessRefused
from wavelet.image.image import Descriptor
from wavelet.image.reference import Digest, Reference, Repository
from wavelet.plan.tokens import Identity
from wavelet.upstream.fallback import CredentialFallback
from wavelet.upstream.manifests import manifest_call, read_head
from wavelet.upstream.push_blobs import BlobPush, BlobToPush
from wavelet.upstream.push_manifests import ManifestPush
from wavelet.upstream.push_uploads import OpenAt
from wavelet.upstream.session import RegistrySession
from wavelet.upstream.token_scope import PUSH


@dataclass(frozen=True)
class PushSource:
    """A blob that is to be pushed: its descriptor, and where its bytes are had.

    Attributes:
        open: gives the bytes from an offset on; it may be called again. Large pieces (1 MiB) go fastest.
    """

    descriptor: Descriptor
    open: OpenAt


class Pusher:
    """Pushes to registries, each blob once however many ask for it."""

    def __init__(self, fallback: CredentialFallback, session: RegistrySession) -> None:
        self._fallback = fallback
        self._blobs = BlobPush(fallback, session)
        self._manifests = ManifestPush(fallback, session)
        self._flights: SingleFlight[tuple[Repository, Digest], bool] = SingleFlight("push")

    async def close(self) -> None:
        """End all pushes."""
        await self._flights.close()

    async def has_manifest(
        self, repository: Repository, digest_or_tag: str | Digest, identity: Identity
    ) -> Descriptor | None:
        """Return what the registry itself has under a digest or tag, None if nothing.

        Raises:
            AccessRefused: refused with each login there is.
            UpstreamError: no answer.
        """
        reference = _reference(repository, digest_or_tag)
        call = replace(manifest_call(reference, "HEAD"), actions=PUSH)
        answer, by = await self._fallback.ask_to_push(repository, identity, call)
        async with answer:
            found = read_head(answer, reference, by.offered.granted)
        return None if found is None else found.descriptor

    async def has_blob(self, repository: Repository, digest: Digest, identity: Identity) -> bool:
        """Tell whether a repository has a blob already.

        Raises:
            AccessRefused, UpstreamError: as `has_manifest`.
        """
        return await self._blobs.is_there(repository, digest, identity)

    async def push_blob(
        self,
        repository: Repository,
        source: PushSource,
        identity: Identity,
        *,
        mount_from: Sequence[Repository] = (),
        on_bytes: Callable[[int], None] = lambda _: None,
    ) -> bool:
        """Let a repository have a blob: it is there already, is mounted from another repository there, or is sent.

        `on_bytes` is told of bytes as they are sent, each once also where they have to be sent again.

        Returns:
            True if bytes were sent for this call.

        Raises:
            AccessRefused: refused with each login there is; the message has these, and the right that is missing.
            UpstreamError: no answer, or not the protocol.
        """
        wanted = BlobToPush(repository, source.descriptor, source.open, identity, mount_from, on_bytes)
        while True:
            own: list[bool] = []

            async def work(begun: list[bool] = own) -> bool:
                begun.append(True)
                return await self._blobs.push(wanted)

            try:
                return await self._flights.run((repository, source.descriptor.digest), work) and bool(own)
            except AccessRefused:
                if own:
                    raise
                # That was somebody else's login.

    async def push_manifest(
        self, repository: Repository, reference: str | Digest, data: bytes, media_type: str, identity: Identity
    ) -> None:
        """Put a manifest or index under a tag or digest; what it names has to be there.

        Where it has a `subject` and the registry does not list what refers to that, the index under the fall-back tag
        is added to (distribution-spec, "Pushing Manifests with Subject").

        Raises:
            AccessRefused, UpstreamError: as `push_blob`.
        """
        await self._manifests.push(repository, str(reference), data, media_type, identity)


def _reference(repository: Repository, digest_or_tag: str | Digest) -> Reference:
    if isinstance(digest_or_tag, Digest):
        return Reference(repository, digest=digest_or_tag)
    return Reference(repository, digest_or_tag)
