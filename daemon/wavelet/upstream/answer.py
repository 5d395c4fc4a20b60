"""An answer of a server whose body is unread, and what its refusal means."""

from __future__ import annotations

import asyncio
import time
from types import TracebackType
from typing import NoReturn, Self

import aiohttp
import msgspec

from wavelet import foreign_json
from wavelet.errors import UpstreamBroken, UpstreamBusy, UpstreamError, WaveletError
from wavelet.foreign_json import ForeignJsonError
from wavelet.upstream.bodies import ERROR_BODY_LIMIT, read_small
from wavelet.upstream.display import printable, server_of
from wavelet.upstream.encodings import codings
from wavelet.upstream.endpoints import Endpoint
from wavelet.upstream.retry import retry_after


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


class _Errors(msgspec.Struct):
    errors: list[object] = []


async def words_of(answer: Answer) -> str:
    """Return what the server says of its refusal, in parentheses, or nothing; it is cut and made printable."""
    try:
        body = await read_small(answer.response, ERROR_BODY_LIMIT, cut=True)
        errors = foreign_json.decode(body, _Errors).errors
    except (UpstreamError, ForeignJsonError):
        return ""
    words = printable(next((error.message for error in foreign_json.each(errors, _Error) if error.message), ""))
    return f" ({words})" if words else ""


async def raise_for(answer: Answer, missing: WaveletError) -> NoReturn:
    """Raise what a status other than success means; `missing` for 404 and 410."""
    if answer.status in (404, 410):
        raise missing
    words = await words_of(answer)
    raise UpstreamBroken(f"{server_of(answer.response.url)} answers {answer.status}{words}")


async def not_now(answer: Answer) -> UpstreamBusy:
    """Return the error of an answer that says "not now"; `retry_after` is what the server has asked for."""
    asked = retry_after(answer.headers.get("Retry-After"), time.time())
    words = await words_of(answer)
    return UpstreamBusy(f"{answer.endpoint.host} answers {answer.status}, not now{words}", retry_after=asked)
