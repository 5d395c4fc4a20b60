"""Bodies of answers: read whole up to a limit, or as a stream, each with its time limits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import aiohttp

from wavelet.errors import UpstreamBroken
from wavelet.upstream import encodings
from wavelet.upstream.retry import ConnectionBroke
from wavelet.upstream.transport import explain, server_of

STALL_TIMEOUT = 30.0
"""Seconds without a byte after which a body counts as broken."""

SMALL_BODY_TIMEOUT = 60.0
"""Seconds for the whole of a manifest, token, list or error."""

ERROR_BODY_LIMIT = 64 * 1024
"""Bytes that are read of an error's body."""


async def read_small(response: aiohttp.ClientResponse, limit: int, *, cut: bool = False) -> bytes:
    """Read a body of at most `limit` bytes and close the answer; with `cut`, leave out what is beyond.

    Content codings are undone: some servers apply them though they were asked not to.

    Raises:
        UpstreamBroken: the body is larger, or cannot be decoded.
        UpstreamUnreachable: the connection broke, or the body does not come in time.
    """
    body = bytearray()
    try:
        async with asyncio.timeout(SMALL_BODY_TIMEOUT):
            async for chunk in response.content.iter_any():
                body += chunk
                if len(body) > limit:
                    response.close()
                    if not cut:
                        raise _too_many(response, limit)
                    break
    except (aiohttp.ClientError, OSError) as error:
        raise explain(response.url, error) from None
    finally:
        response.release()
    return _decoded(response, bytes(body[:limit]), limit, cut=cut)


def _decoded(response: aiohttp.ClientResponse, body: bytes, limit: int, *, cut: bool) -> bytes:
    try:
        return encodings.undone(body, response.headers.get("Content-Encoding", ""), limit, cut=cut)
    except encodings.TooLong:
        raise _too_many(response, limit) from None
    except encodings.EncodingError as error:
        raise UpstreamBroken(f"what {server_of(response.url)} answers cannot be read: {error}") from None


def _too_many(response: aiohttp.ClientResponse, limit: int) -> UpstreamBroken:
    return UpstreamBroken(f"{server_of(response.url)} sends more than {limit} bytes, too many for its kind")


async def read_stream(
    response: aiohttp.ClientResponse, expected: int | None, failed: Callable[[], None]
) -> AsyncIterator[bytes]:
    """Yield the body's chunks, `expected` bytes together where that is known; `failed` is told if they do not all come.

    Raises:
        UpstreamUnreachable: the connection broke, stalled, or ended early.
    """
    got = 0
    chunks = response.content.iter_any()
    try:
        while True:
            async with asyncio.timeout(STALL_TIMEOUT):
                chunk = await anext(chunks, b"")
            if not chunk:
                break
            got += len(chunk)
            yield chunk
        if expected is not None and got != expected:
            raise ConnectionBroke(f"{server_of(response.url)} ended after {got} of {expected} bytes")
    except TimeoutError:
        failed()
        raise ConnectionBroke(f"{server_of(response.url)} sent no byte for {STALL_TIMEOUT:g} s") from None
    except (aiohttp.ClientError, OSError) as error:
        failed()
        raise explain(response.url, error, after=got) from None
    except ConnectionBroke:
        failed()
        raise
