"""One upload of a blob to a registry (distribution-spec, "Pushing blobs"): whole or in chunks, resumed after breaks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager, suppress
from dataclasses import dataclass

import structlog
from yarl import URL

from wavelet.errors import UpstreamBusy, UpstreamError, UpstreamUnreachable, WaveletError
from wavelet.image.image import Descriptor
from wavelet.upstream.file_ranges import Piece
from wavelet.upstream.push_answers import Refusal, least_chunk, next_location, received, with_digest
from wavelet.upstream.push_plan import Cut
from wavelet.upstream.push_target import PushTarget
from wavelet.upstream.request_body import Body
from wavelet.upstream.retry import RetryPolicy
from wavelet.upstream.session import Call
from wavelet.upstream.streams import Answer
from wavelet.upstream.token_scope import PUSH

UPLOADS = RetryPolicy(5, first_delay=0.5, factor=2.0)
"""How an upload that broke is taken up again, as long as the registry gets no further with it."""

BREAKS_LIMIT = 100
"""Times that one upload may break, however far it gets in between."""

ABANDON_TIMEOUT = 5.0
"""Seconds for telling a registry that an upload is given up."""

OpenAt = Callable[[int], AbstractAsyncContextManager[AsyncIterator[Piece]]]
"""Gives a content's bytes from an offset on; it may be called again."""

BEGIN = Call("upload", "POST", "blobs/uploads/", actions=PUSH)
"""Begins an upload."""

_TAKEN = frozenset({200, 201, 202, 204})
_MADE = frozenset({200, 201, 204})
_NO_CHUNKS = frozenset({400, 405, 411, 415, 501})

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Begun:
    """An upload that a registry has begun: where it goes on, and the bytes that the registry has of it."""

    at: URL
    offset: int = 0


@dataclass(slots=True)
class _Breaks:
    """How often an upload broke: in all, and in a row in which the registry got no further."""

    total: int = 0
    row: int = 0
    most: int = 0

    def delay(self, error: UpstreamError, offset: int) -> float | None:
        """Count one at `offset`; return the seconds to wait, None where it is not taken up again."""
        self.total += 1
        self.row = 1 if offset > self.most else self.row + 1
        self.most = max(self.most, offset)
        asked = error.retry_after if isinstance(error, UpstreamBusy) else None
        return None if self.total > BREAKS_LIMIT else UPLOADS.delay(self.row, asked)


class Upload:
    """One upload. It is begun where it is not yet, and as often as the registry has lost it."""

    def __init__(self, target: PushTarget, blob: Descriptor, open_at: OpenAt, on_bytes: Callable[[int], None]) -> None:
        self._target = target
        self._blob = blob
        self._what = f"blob {blob.digest}"
        self._open_at = open_at
        self._on_bytes = on_bytes
        self._told = 0
        self._cut = Cut.of(blob.size)
        self._begun: Begun | None = None
        self._broke = self._disputed = False

    def begin_at(self, answer: Answer) -> None:
        """Go on where a registry's answer (202) says.

        Raises:
            UpstreamBroken: it says nothing that can be followed.
        """
        self._begun = Begun(self._location(answer))
        self._cut = self._cut.with_least(least_chunk(answer.headers.get("OCI-Chunk-Min-Length", "")))

    async def run(self) -> None:
        """Send the blob, and what is left of it after a break.

        Raises:
            AccessRefused, TooLarge, NotFound: definite answers.
            Exception: what the source raises.
            UpstreamError: it broke off too often, or the registry disputes what it got.
        """
        breaks = _Breaks()
        while True:
            try:
                return await self._go_on()
            except UpstreamError as error:
                wait = breaks.delay(error, self._offset) if _may_pass(error) else None
                if wait is None:
                    told = self._with_progress(error)
                    await self.abandon()
                    raise told from None
                _log.info("an upload is taken up again", blob=self._blob.digest, because=error.message, seconds=wait)
            except Exception:
                await self.abandon()
                raise
            self._broke = True
            self._cut = self._cut.chunked()
            await asyncio.sleep(wait)

    @property
    def _offset(self) -> int:
        return 0 if self._begun is None else self._begun.offset

    def _with_progress(self, error: UpstreamError) -> UpstreamError:
        if not self._offset:
            return error
        return error.with_message(f"{error.message}; it has {self._offset} of {self._blob.size} bytes of {self._what}")

    async def _go_on(self) -> None:
        if self._broke and await self._is_there_now():
            return
        begun = self._begun or await self._begin()
        if self._cut.chunk is None:
            await self._finish(begun, self._body(0, self._blob.size))
            return
        while begun.offset < self._blob.size:
            begun = await self._send_chunk(begun)
        await self._finish(begun, Body.of(self._what, b""))

    async def _begin(self) -> Begun:
        async with await self._target.send(BEGIN) as answer:
            if answer.status != 202:
                raise await self._target.error(answer, self._what, self._blob.size)
            self.begin_at(answer)
        assert self._begun is not None
        return self._begun

    async def _is_there_now(self) -> bool:
        """Find out how far the registry got. Tell whether it has the blob: its answer may have been lost."""
        if self._begun is not None and not self._cut.whole_only:
            async with await self._target.send(self._call("GET", self._begun.at)) as answer:
                got = received(answer.headers.get("Range", "")) if answer.status in _TAKEN else 0
                if 0 < got <= self._blob.size:
                    self._begun = Begun(self._location(answer, self._begun.at), got)
                    return False
        await self.abandon()
        head = Call("blob", "HEAD", f"blobs/{self._blob.digest}", actions=PUSH)
        async with await self._target.send(head) as answer:
            return answer.status == 200

    async def _send_chunk(self, begun: Begun) -> Begun:
        end = self._cut.end(begun.offset)
        headers = {"Content-Range": f"{begun.offset}-{end - 1}"}
        call = self._call("PATCH", begun.at, self._body(begun.offset, end), headers)
        async with await self._target.send(call) as answer:
            if answer.status not in _TAKEN:
                raise await self._refused(answer)
            self._begun = Begun(self._location(answer, begun.at), end)
            return self._begun

    async def _finish(self, begun: Begun, body: Body) -> None:
        call = self._call("PUT", with_digest(begun.at, self._blob.digest), body)
        async with await self._target.send(call) as answer:
            if answer.status not in _MADE:
                raise await self._refused(answer)

    async def _refused(self, answer: Answer) -> WaveletError:
        """Return the error of an answer that is no success; one that may pass where there is another way to go on."""
        refusal = await self._target.refusal(answer)
        error = self._target.error_of(refusal, self._what, self._blob.size)
        host, status, code = refusal.host, refusal.status, refusal.code
        other = self._other_cut(refusal)
        if other is not None:
            self._cut = other
            if other.whole_only:
                await self.abandon()
            return UpstreamError(error.message)
        if status in (404, 410):
            self._begun = None
            return UpstreamError(f"{host} has lost the upload of {self._what}: it answers {status}{refusal.words}")
        if status == 416:
            return UpstreamError(
                f"{host} has another part of {self._what} than was sent: it answers 416{refusal.words}"
            )
        if code == "DIGEST_INVALID" and self._broke and not self._disputed:
            self._disputed = True
            await self.abandon()
            return UpstreamError(error.message)
        return error

    def _other_cut(self, refusal: Refusal) -> Cut | None:
        """Return how else the blob may be sent, where it was how it was cut that was refused."""
        if refusal.status == 413:
            return self._cut.smaller()
        first_chunk = self._cut.chunk is not None and not self._offset
        about_chunk = refusal.status in _NO_CHUNKS and refusal.code not in ("DIGEST_INVALID", "NAME_INVALID")
        return self._cut.whole() if first_chunk and about_chunk else None

    async def abandon(self) -> None:
        """Tell the registry, as far as it hears it, that an upload is not gone on with."""
        begun, self._begun = self._begun, None
        if begun is not None:
            with suppress(WaveletError, TimeoutError):
                async with asyncio.timeout(ABANDON_TIMEOUT):
                    (await self._target.send(self._call("DELETE", begun.at))).close()

    def _call(self, method: str, at: URL, body: Body | None = None, headers: dict[str, str] | None = None) -> Call:
        return Call("upload", method, "", headers=headers or {}, actions=PUSH, body=body, at=at)

    def _location(self, answer: Answer, before: URL | None = None) -> URL:
        stated = answer.headers.get("Location", "")
        if not stated and before is not None:
            return before
        return next_location(answer.endpoint.base, answer.response.url, stated)

    def _body(self, start: int, end: int) -> Body:
        position = start

        @asynccontextmanager
        async def opened() -> AsyncIterator[AsyncIterator[Piece]]:
            nonlocal position
            position = start
            async with self._open_at(start) as pieces:
                if end == self._blob.size:
                    yield pieces
                else:
                    async with aclosing(_first(pieces, end - start)) as some:
                        yield some

        def on_bytes(count: int) -> None:
            nonlocal position
            position += count
            if position > self._told:
                more, self._told = position - self._told, position
                self._on_bytes(more)

        return Body(self._what, end - start, opened, on_bytes)


async def _first(pieces: AsyncIterator[Piece], length: int) -> AsyncGenerator[Piece, None]:
    """Yield the first `length` bytes of what there is."""
    async for piece in pieces:
        yield piece[:length] if isinstance(piece, bytes) else piece.first(length)
        length -= len(piece)
        if length <= 0:
            return


def _may_pass(error: UpstreamError) -> bool:
    """Tell whether an upload is taken up again; a registry that nobody answers for may be starting anew."""
    return error.passing or isinstance(error, UpstreamUnreachable)
