"""The push of one blob: it is there already, is mounted from another repository of the registry, or is sent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from wavelet.errors import AccessRefused, UpstreamBroken
from wavelet.image.image import Descriptor
from wavelet.image.reference import Digest, Repository
from wavelet.plan.tokens import Identity
from wavelet.upstream.fallback import CredentialFallback, PushLogin
from wavelet.upstream.push_target import PushTarget
from wavelet.upstream.push_uploads import BEGIN, OpenAt, Upload
from wavelet.upstream.session import Call, RegistrySession
from wavelet.upstream.streams import Answer
from wavelet.upstream.token_scope import PUSH

MOUNT_LIMIT = 3
"""Repositories that are tried to mount one blob from."""


@dataclass(frozen=True, slots=True)
class BlobToPush:
    """A blob, where it goes, and for whom. See `Pusher.push_blob`."""

    repository: Repository
    blob: Descriptor
    open_at: OpenAt
    identity: Identity
    mount_from: Sequence[Repository]
    on_bytes: Callable[[int], None]

    @property
    def mounts(self) -> list[str]:
        """The paths of other repositories of the same registry that it may be mounted from."""
        there = [each.path for each in self.mount_from if each.host == self.repository.host]
        return [path for path in dict.fromkeys(there) if path != self.repository.path][:MOUNT_LIMIT]


class BlobPush:
    """Pushes blobs to repositories."""

    def __init__(self, fallback: CredentialFallback, session: RegistrySession) -> None:
        self._fallback = fallback
        self._session = session

    async def push(self, wanted: BlobToPush) -> bool:
        """Let a repository have a blob; tell whether bytes were sent for that. See `Pusher.push_blob`."""
        if await self._seems_there(wanted):
            return False
        upload = await self._mount_or_begin(wanted)
        if upload is None:
            return False
        await upload.run()
        return True

    async def is_there(self, repository: Repository, digest: Digest, identity: Identity) -> bool:
        """See `Pusher.has_blob`."""
        call = Call("blob", "HEAD", f"blobs/{digest}", actions=PUSH)
        answer, _ = await self._fallback.ask_to_push(repository, identity, call)
        async with answer:
            # What a registry sends elsewhere for is there, also where that was signed for GET alone.
            return answer.status == 200 or (not answer.is_own and answer.status in (403, 405))

    async def _seems_there(self, wanted: BlobToPush) -> bool:
        """Ask whether it is there. A refusal is no answer: whether a login may push, the upload shows."""
        try:
            return await self.is_there(wanted.repository, wanted.blob.digest, wanted.identity)
        except (AccessRefused, UpstreamBroken):
            return False

    async def _mount_or_begin(self, wanted: BlobToPush) -> Upload | None:
        """Return the upload that has begun, or None where the blob could be mounted (distribution-spec, "Mounting")."""
        begun: Upload | None = None
        for path in wanted.mounts:
            asked = await self._ask_to_mount(wanted, path)
            if asked is None:
                continue
            answer, login = asked
            answer.close()
            if begun is not None and answer.status in (201, 202):
                await begun.abandon()
                begun = None
            if answer.status == 201:
                return None
            if answer.status == 202:
                begun = self._upload(wanted, answer, login)
        return begun or await self._begin(wanted)

    async def _ask_to_mount(self, wanted: BlobToPush, path: str) -> tuple[Answer, PushLogin] | None:
        """Ask; None where no login may read the other repository, or the registry knows no mounting."""
        query = {"mount": str(wanted.blob.digest), "from": path}
        try:
            return await self._fallback.ask_to_push(
                wanted.repository, wanted.identity, replace(BEGIN, query=query, mounts=path)
            )
        except (AccessRefused, UpstreamBroken):
            return None

    async def _begin(self, wanted: BlobToPush) -> Upload:
        answer, login = await self._fallback.ask_to_push(wanted.repository, wanted.identity, BEGIN)
        async with answer:
            if answer.status != 202:
                target = PushTarget(wanted.repository, self._session, login)
                raise await target.error(answer, f"blob {wanted.blob.digest}", wanted.blob.size)
            return self._upload(wanted, answer, login)

    def _upload(self, wanted: BlobToPush, answer: Answer, login: PushLogin) -> Upload:
        target = PushTarget(wanted.repository, self._session, login)
        upload = Upload(target, wanted.blob, wanted.open_at, wanted.on_bytes)
        upload.begin_at(answer)
        return upload
