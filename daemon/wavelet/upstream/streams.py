"""Streams: bodies that are read piece by piece, from an offset on where the server can."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import NoReturn, Self

import aiohttp
import msgspec

from wavelet import foreign_json
from wavelet.errors import UpstreamBroken, UpstreamBusy, UpstreamError, WaveletError
from wavelet.foreign_json import ForeignJsonError
from wavelet.image.image import MANIFEST_LIMIT
from wavelet.image.reference import Digest
from wavelet.upstream import encodings
from wavelet.upstream.bodies import ERROR_BODY_LIMIT, read_small, read_stream
from wavelet.upstream.credential_sources import Granted
from wavelet.upstream.encodings import codings
from wavelet.upstream.endpoints import Endpoint
from wavelet.upstream.retry import ATTEMPTS, HostLimiter, is_passing, repeated, retry_after
from wavelet.upstream.transport import (
    Request,
    Transport,
    printable,
    server_of,
    shown,
)


class Answer:
    """An answer with its body unread, and the slot it holds. To be closed, or used as a context."""

    def __init__(self, response: aiohttp.ClientResponse, slot: asyncio.Semaphore, endpoint: Endpoint) -> None:
        self.response = response
        self.status = response.status
        self.headers = response.headers
        self.endpoint = endpoint
        self._slot: asyncio.Semaphore | None = slot

    @property
    def is_own(self) -> bool:
        """Whether the registry itself has answered, and not a server that it redirected to."""
        return self.response.url.origin() == self.endpoint.base

    @property
    def is_encoded(self) -> bool:
        """Whether its body has a content coding, though none was asked for; its length is then that of other bytes."""
        return bool(codings(self.headers.get("Content-Encoding", "")))

    def close(self) -> None:
        """Give the connection and the slot back."""
        self.response.release()
        if self._slot is not None:
            self._slot.release()
            self._slot = None

    async def read(self, limit: int) -> bytes:
        """Read the whole body, of at most `limit` bytes."""
        return await read_small(self.response, limit)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Error(msgspec.Struct):
    message: str = ""
    code: str = ""


class _Errors(msgspec.Struct):
    errors: list[object] = []


@dataclass(frozen=True, slots=True)
class ServerWords:
    """What a server says of its refusal (distribution-spec, "Error Codes").

    Attributes:
        code: the first error's code, or nothing.
        text: its message in parentheses, after a space, or nothing; it is cut and made printable.
        is_full: whether it says that there is no room left.
    """

    code: str = ""
    text: str = ""
    is_full: bool = False


_FULL = re.compile(
    r'no space left|disk (is )?full|quota exceeded|exceeds? (the )?quota|"Err": ?(28|122)\b', re.IGNORECASE
)
"""How registries say that a disk is full: in words, or as distribution does by Linux' number of the error."""


async def server_words(answer: Answer) -> ServerWords:
    """Read what the server says of its refusal, and close the answer."""
    try:
        body = await read_small(answer.response, ERROR_BODY_LIMIT, cut=True)
    except UpstreamError:
        return ServerWords()
    full = answer.status == 507 or (answer.status >= 500 and _FULL.search(body.decode("utf-8", "replace")) is not None)
    try:
        errors = foreign_json.each(foreign_json.decode(body, _Errors).errors, _Error)
    except ForeignJsonError:
        errors = []
    words = printable(next((error.message for error in errors if error.message), ""))
    code = next((error.code for error in errors if error.code), "")
    return ServerWords(code, f" ({words})" if words else "", full)


async def raise_for(answer: Answer, missing: WaveletError) -> NoReturn:
    """Raise what a status other than success means; `missing` for 404 and 410."""
    if answer.status in (404, 410):
        raise missing
    words = await server_words(answer)
    raise UpstreamBroken(f"{server_of(answer.response.url)} answers {answer.status}{words.text}")


async def not_now(answer: Answer) -> UpstreamError:
    """Return the error of an answer that says "not now"; `retry_after` is what the server has asked for.

    One that says that its disk is full is no such thing: that does not pass by itself.
    """
    asked = retry_after(answer.headers.get("Retry-After"), time.time())
    host, words = answer.endpoint.host, await server_words(answer)
    if not words.is_full:
        return UpstreamBusy(f"{host} answers {answer.status}, not now{words.text}", retry_after=asked)
    full = UpstreamError(f"{host} has no room left: it answers {answer.status}{words.text}; make room there")
    full.passing = False
    return full


async def get(
    transport: Transport, limiter: HostLimiter, request: Callable[[], Request], *, attempts: int = ATTEMPTS
) -> Answer:
    """Send a request, and again as `request` has it then, at most `attempts` times while the server says "not now".

    Raises:
        UpstreamUnreachable: no connection, or no answer in time.
        UpstreamBusy: still 408, 429 or 5xx; `retry_after` says when to come again.
        UpstreamBroken: not the protocol.
    """
    return await repeated(lambda: _get(transport, limiter, request()), attempts)


async def _get(transport: Transport, limiter: HostLimiter, request: Request) -> Answer:
    host = server_of(request.url)
    slot = await limiter.take(host, "download")
    try:
        answer = Answer(await transport.send(request), slot, Endpoint(host, request.url.origin()))
    except BaseException:
        slot.release()
        raise
    if is_passing(answer.status):
        answer.close()
        asked = retry_after(answer.headers.get("Retry-After"), time.time())
        raise UpstreamBusy(f"{shown(request.url)} answers {answer.status}, not now", retry_after=asked)
    return answer


_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)")
_LENGTH = re.compile(r"[0-9]{1,18}")


@dataclass
class Stream:
    """Bytes on their way.

    Attributes:
        offset: where they start: as asked, or 0 from a server that ignores Range.
        size: of the whole content in bytes, where the server says it.
        chunks: the bytes; raises UpstreamUnreachable if they break off, stall or end early.
        granted: to whom they were granted.
        release: gives back what it takes: a connection.
    """

    offset: int
    size: int | None
    chunks: AsyncIterator[bytes]
    granted: Granted
    release: Callable[[], None] = field(repr=False)

    async def close(self) -> None:
        """Give the connection back."""
        self.release()


def wanted(offset: int) -> dict[str, str]:
    """Return the header that asks for the bytes from `offset` on (RFC 9110, 14.2)."""
    return {"Range": f"bytes={offset}-"} if offset else {}


def open_stream(answer: Answer, offset: int, granted: Granted, failed: Callable[[], None]) -> Stream:
    """Make a stream of a 200 or 206.

    Raises:
        UpstreamBroken: a part that was not asked for.
    """
    length = answer.headers.get("Content-Length", "")
    rest = int(length) if _LENGTH.fullmatch(length) else None
    if answer.status == 200:
        return Stream(0, rest, read_stream(answer.response, rest, failed), granted, answer.close)
    found = _CONTENT_RANGE.fullmatch(answer.headers.get("Content-Range", "").strip())
    if found is None or int(found[1]) != offset or int(found[2]) < offset:
        raise UpstreamBroken(f"{server_of(answer.response.url)} answers a range that was not asked for")
    size = None if found[3] == "*" else int(found[3])
    rest = size - offset if size is not None else int(found[2]) + 1 - offset
    return Stream(offset, size, read_stream(answer.response, rest, failed), granted, answer.close)


async def open_encoded(answer: Answer, digest: Digest, granted: Granted, failed: Callable[[], None]) -> Stream:
    """Make a stream of a 200 that has a content coding which nobody asked for.

    A small one is decoded where `digest` says that these are the bytes: a document that a server in between has
    compressed. All else stays as it came: of archives that header mostly tells what they are.

    Raises:
        UpstreamUnreachable: see `Stream.chunks`.
    """
    stream = open_stream(answer, 0, granted, failed)
    begun: list[bytes] = []
    async for chunk in stream.chunks:
        begun.append(chunk)
        if sum(map(len, begun)) > MANIFEST_LIMIT:
            return replace(stream, chunks=_joined(begun, stream.chunks))
    data = b"".join(begun)
    if Digest.of(data, digest.algorithm) != digest:
        with contextlib.suppress(encodings.EncodingError):
            plain = encodings.undone(data, answer.headers["Content-Encoding"], MANIFEST_LIMIT)
            data = plain if Digest.of(plain, digest.algorithm) == digest else data
    return Stream(0, len(data), _joined([data]), granted, answer.close)


async def _joined(begun: Sequence[bytes], rest: AsyncIterator[bytes] | None = None) -> AsyncIterator[bytes]:
    for chunk in begun:
        yield chunk
    if rest is not None:
        async for chunk in rest:
            yield chunk
