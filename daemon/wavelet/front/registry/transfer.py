"""The transfer of blobs to clients: committed ones by sendfile, partial ones by following the file."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable
from typing import BinaryIO

import structlog
from aiohttp import hdrs, web

from wavelet.errors import WaveletError
from wavelet.front.defects import defect
from wavelet.front.metrics import SENT_BYTES
from wavelet.front.registry.headers import matches_etag, parse_range
from wavelet.image.reference import Digest
from wavelet.resolve.joined import JoinedBlob, Part
from wavelet.store.content import Blob, Committed
from wavelet.store.ingest import PartialBlob

log = structlog.get_logger()

PIECE = 64 * 1024 * 1024
"""Bytes sent in one bounded wait."""

PIECE_LIMIT = 900.0
"""Seconds for one piece; a client slower than that has gone."""

READ_SIZE = 256 * 1024


async def send_blob(
    request: web.Request, blob: Blob | JoinedBlob, digest: Digest, extra: dict[str, str]
) -> web.StreamResponse:
    """Answer with a blob, its headers only for HEAD.

    Raises:
        RangeInvalid: the range begins behind the end.
        WaveletError: the running fetch failed before there was a byte to send.
    """
    if isinstance(blob, JoinedBlob):
        return await _send_joined(request, blob, digest, extra)
    with _opened(blob) as file:
        if isinstance(blob, PartialBlob):
            await blob.wait_for_offset(0)
        return await _send(request, blob, file, digest, extra)


async def _send_joined(
    request: web.Request, blob: JoinedBlob, digest: Digest, extra: dict[str, str]
) -> web.StreamResponse:
    response = web.StreamResponse(headers=blob_headers(digest) | extra)
    start, end = _wanted(request, response, digest, blob.size)
    response.content_length = end - start
    parts = blob.between(start, end)
    if not parts or request.method == hdrs.METH_HEAD:
        await response.prepare(request)
    else:
        # The first part shows whether it can be had at all, while there is still an answer that can say so.
        first = await parts[0].open()
        with _opened(first) as file:
            await response.prepare(request)
            await _guarded(request, _send_range(request, first, file, parts[0].start, parts[0].end))
        await _guarded(request, _send_parts(request, parts[1:]))
    await response.write_eof()
    return response


async def _send_parts(request: web.Request, parts: list[Part]) -> None:
    for part in parts:
        blob = await part.open()
        with _opened(blob) as file:
            await _send_range(request, blob, file, part.start, part.end)


def _opened(blob: Blob) -> BinaryIO:
    """Open a blob; between finding and opening it nothing may be awaited, so that eviction cannot come in between."""
    return blob.path.open("rb", buffering=0) if isinstance(blob, Committed) else blob.open()


async def _send(
    request: web.Request, blob: Blob, file: BinaryIO, digest: Digest, extra: dict[str, str]
) -> web.StreamResponse:
    response = web.StreamResponse(headers=blob_headers(digest) | extra)
    size = blob.size
    if size is None:
        assert isinstance(blob, PartialBlob)
        response.enable_chunked_encoding()
        await response.prepare(request)
        if request.method != hdrs.METH_HEAD:
            await _guarded(request, _follow_unknown(response, blob, file))
        await response.write_eof()
        return response
    start, end = _wanted(request, response, digest, size)
    response.content_length = end - start
    await response.prepare(request)
    if request.method != hdrs.METH_HEAD:
        await _guarded(request, _send_range(request, blob, file, start, end))
    await response.write_eof()
    return response


def blob_headers(digest: Digest) -> dict[str, str]:
    """Return what every answer about a blob carries."""
    return {
        "Docker-Content-Digest": digest,
        hdrs.ETAG: f'"{digest}"',
        hdrs.CONTENT_TYPE: "application/octet-stream",
        hdrs.ACCEPT_RANGES: "bytes",
    }


def _wanted(request: web.Request, response: web.StreamResponse, digest: Digest, size: int) -> tuple[int, int]:
    if_range = request.headers.get(hdrs.IF_RANGE)
    if if_range is not None and not matches_etag(if_range, digest):
        return 0, size
    wanted = parse_range(request.headers.get(hdrs.RANGE), size)
    if wanted is None:
        return 0, size
    response.set_status(206)
    response.headers[hdrs.CONTENT_RANGE] = f"bytes {wanted[0]}-{wanted[1] - 1}/{size}"
    return wanted


async def _send_range(request: web.Request, blob: Blob, file: BinaryIO, start: int, end: int) -> None:
    loop = asyncio.get_running_loop()
    sent = SENT_BYTES.labels("store" if isinstance(blob, Committed) else "growing")
    while start < end:
        readable = await blob.wait_for_offset(start) if isinstance(blob, PartialBlob) else end
        count = min(readable, end, start + PIECE) - start
        transport = request.transport
        if transport is None:
            raise ConnectionResetError("the client has gone")
        async with asyncio.timeout(PIECE_LIMIT):
            await loop.sendfile(transport, file, start, count)
        sent.inc(count)
        start += count


async def _follow_unknown(response: web.StreamResponse, blob: PartialBlob, file: BinaryIO) -> None:
    offset = 0
    while not (blob.verified and offset >= blob.readable):
        readable = await blob.wait_for_offset(offset)
        while offset < readable:
            data = os.pread(file.fileno(), min(READ_SIZE, readable - offset), offset)
            async with asyncio.timeout(PIECE_LIMIT):
                await response.write(data)
            offset += len(data)
            SENT_BYTES.labels("growing").inc(len(data))


async def _guarded(request: web.Request, sending: Awaitable[None]) -> None:
    """Run `sending`; when it fails, break the connection: headers are out, and a clean end would be a lie."""
    try:
        await sending
    except WaveletError as error:
        log.warning("transfer broken", path=request.path, because=error.message)
        raise _broken(request, error.message) from None
    except TimeoutError:
        raise _broken(request, "the client takes no bytes") from None
    except (ConnectionError, RuntimeError):  # asyncio's word for a transport that closes is RuntimeError
        raise _broken(request, "the client has gone") from None
    except OSError as error:  # of the disk, or of the network
        log.warning("transfer broken", path=request.path, because=error.strerror)
        raise _broken(request, error.strerror or "it cannot be sent") from None
    except Exception:  # noqa: BLE001 - an answer has begun: the last resort is to break it
        raise _broken(request, defect(request).message) from None


def _broken(request: web.Request, why: str) -> ConnectionResetError:
    if request.transport is not None:
        request.transport.abort()
    return ConnectionResetError(why)
