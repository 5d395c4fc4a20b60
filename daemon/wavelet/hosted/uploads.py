"""Uploads of blobs: sessions that live in this process, so that a restart ends them and clients begin anew.

What has come stays between two requests of a client, who may ask how much that is and go on. What came before a
connection broke counts too. A session that is left alone for `IDLE_LIMIT` is dropped.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from wavelet.errors import (
    ChunkMisplaced,
    DigestMismatch,
    InvalidRequest,
    UploadNotFound,
    WaitExpired,
    WaveletError,
)
from wavelet.hosted.holdings import Holdings
from wavelet.hosted.metrics import RECEIVED_BYTES, UPLOADS
from wavelet.hosted.model import HostedRepository
from wavelet.hosted.pushes import HostedPushes, of_disk
from wavelet.image.reference import Digest
from wavelet.store.content import ContentStore
from wavelet.store.draining import drain
from wavelet.store.upload import Upload

IDLE_LIMIT = 3600.0
"""Seconds after the last request for which a session is kept."""

CALLER_LIMIT = 256
"""Sessions of one caller, whatever logins it shows; docker has five at a time."""

RETRY_AFTER = 1.0


@dataclass(frozen=True, slots=True)
class Piece:
    """Where a piece begins and ends (inclusive), in bytes of the whole, as its Content-Range says."""

    start: int
    end: int


@dataclass(eq=False, slots=True)
class Session:
    """An upload.

    Attributes:
        id: by which its repository's owner names it.
        repository: where it goes.
        uid: of who has begun it; None: the daemon cannot tell.
        upload: what has come.
        arrived: the bytes that are counted as arriving because of it.
        used: when it was last asked for, by the monotonic clock.
        busy: whether a request is at work on it.
    """

    id: str
    repository: HostedRepository
    uid: int | None
    upload: Upload
    arrived: int = 0
    used: float = field(default_factory=time.monotonic)
    busy: bool = False


class Uploads:
    """The sessions of a node. For the loop's thread."""

    def __init__(self, store: ContentStore, holdings: Holdings, pushes: HostedPushes) -> None:
        self._store = store
        self._holdings = holdings
        self._pushes = pushes
        self._sessions: dict[str, Session] = {}

    def begin(self, repository: HostedRepository, uid: int | None) -> Session:
        """Begin an upload for a caller.

        Raises:
            WaitExpired: it has too many.
            NoSpace, OurError: nothing can be written.
        """
        if self._count(uid) >= CALLER_LIMIT:
            self.expire()
        if self._count(uid) >= CALLER_LIMIT:
            raise WaitExpired(f"{CALLER_LIMIT} uploads of yours are open; end or cancel some", retry_after=RETRY_AFTER)
        try:
            upload = self._store.owned.begin()
        except OSError as error:
            raise of_disk(error) from error
        session = Session(uuid.uuid4().hex, repository, uid, upload)
        self._sessions[session.id] = session
        return session

    def _count(self, uid: int | None) -> int:
        return sum(session.uid == uid for session in self._sessions.values())

    def get(self, repository: HostedRepository, session_id: str) -> Session:
        """Return an upload of a repository.

        Raises:
            UploadNotFound: there is none of this id there.
        """
        session = self._sessions.get(session_id)
        if session is None or session.repository != repository:
            raise UploadNotFound(
                "there is no such upload: it has ended, was left alone for an hour, or wavelet was started again;"
                " begin anew"
            )
        session.used = time.monotonic()
        return session

    async def receive(self, session: Session, chunks: AsyncIterator[bytes], piece: Piece | None = None) -> None:
        """Take bytes behind those that have come; where the body breaks off, what came of it stays.

        Raises:
            ChunkMisplaced: the piece does not begin there; nothing is taken.
            InvalidRequest: the body has not arrived whole, or is not what `piece` says.
            WaitExpired: another request is at work on it.
            NoSpace, OurError: the bytes cannot be kept; the upload has ended.
        """
        if session.busy:
            raise WaitExpired("another request of this upload is still being answered", retry_after=RETRY_AFTER)
        if piece is not None and piece.start != session.upload.size:
            raise ChunkMisplaced(f"the piece begins at byte {piece.start}, and {session.upload.size} have come")
        session.busy = True
        try:
            await drain(chunks, lambda parts, size: self._append(session, parts, size, piece))
        finally:
            session.busy, session.used = False, time.monotonic()
        if piece is not None and session.upload.size != piece.end + 1:
            raise InvalidRequest(
                f"the piece ended at {session.upload.size} and not at {piece.end + 1}, as Content-Range says"
            )

    async def _append(self, session: Session, parts: list[bytes], size: int, piece: Piece | None) -> None:
        if piece is not None and session.upload.size + size > piece.end + 1:
            raise InvalidRequest("the piece has more bytes than Content-Range says")
        try:
            self._holdings.arrive(size)
            session.arrived += size
            await session.upload.append(parts, size)
        except OSError as error:
            self._drop(session, "refused")
            raise of_disk(error) from error
        except WaveletError:
            self._drop(session, "refused")
            raise
        RECEIVED_BYTES.inc(size)

    async def finish(self, session: Session, digest: Digest) -> None:
        """End an upload: what has come is compared with its digest, and kept.

        Raises:
            DigestMismatch: it has another one; nothing is kept.
            WaitExpired: another request is at work on it.
            NoSpace, OurError: it cannot be kept.
        """
        if session.busy:
            raise WaitExpired("another request of this upload is still being answered", retry_after=RETRY_AFTER)
        session.busy = True
        outcome = "refused"
        try:
            found = await session.upload.digest(digest.algorithm)
            if found != digest:
                raise DigestMismatch(f"what was pushed has the digest {found} instead of {digest}; nothing is kept")
            await self._pushes.keep_blob(session.repository, session.upload, digest, lambda: self._leave(session))
            outcome = ""
        except OSError as error:
            raise of_disk(error) from error
        finally:
            self._drop(session, outcome)

    def drop(self, session: Session) -> None:
        """Drop an upload that has not ended, if no request is at work on it."""
        if not session.busy:
            self._drop(session, "refused")

    def cancel(self, session: Session) -> None:
        """Drop an upload.

        Raises:
            WaitExpired: a request is at work on it.
        """
        if session.busy:
            raise WaitExpired("another request of this upload is still being answered", retry_after=RETRY_AFTER)
        self._drop(session, "cancelled")

    def expire(self) -> None:
        """Drop the uploads that were left alone."""
        now = time.monotonic()
        for session in list(self._sessions.values()):
            if not session.busy and now - session.used > IDLE_LIMIT:
                self._drop(session, "cancelled")

    def close(self) -> None:
        """Drop all."""
        for session in list(self._sessions.values()):
            self._drop(session, "cancelled")

    def _leave(self, session: Session) -> None:
        self._holdings.leave(session.arrived)
        session.arrived = 0

    def _drop(self, session: Session, outcome: str) -> None:
        if self._sessions.pop(session.id, None) is None:
            return
        self._leave(session)
        session.upload.drop()
        if outcome:
            UPLOADS.labels(outcome).inc()
