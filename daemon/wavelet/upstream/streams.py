"""Bodies that are read piece by piece, from an offset on where the server can."""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field, replace

from wavelet.errors import UpstreamBroken
from wavelet.image.digest import Digest
from wavelet.image.manifest import MANIFEST_LIMIT
from wavelet.upstream import encodings
from wavelet.upstream.answer import Answer
from wavelet.upstream.bodies import read_stream
from wavelet.upstream.credential_source import Granted
from wavelet.upstream.display import server_of

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
    """

    offset: int
    size: int | None
    chunks: AsyncIterator[bytes]
    granted: Granted
    _answer: Answer = field(repr=False)

    async def close(self) -> None:
        """Give the connection back."""
        self._answer.close()


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
        return Stream(0, rest, read_stream(answer.response, rest, failed), granted, answer)
    found = _CONTENT_RANGE.fullmatch(answer.headers.get("Content-Range", "").strip())
    if found is None or int(found[1]) != offset or int(found[2]) < offset:
        raise UpstreamBroken(f"{server_of(answer.response.url)} answers a range that was not asked for")
    size = None if found[3] == "*" else int(found[3])
    rest = size - offset if size is not None else int(found[2]) + 1 - offset
    return Stream(offset, size, read_stream(answer.response, rest, failed), granted, answer)


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
    return Stream(0, len(data), _joined([data]), granted, answer)


async def _joined(begun: Sequence[bytes], rest: AsyncIterator[bytes] | None = None) -> AsyncIterator[bytes]:
    for chunk in begun:
        yield chunk
    if rest is not None:
        async for chunk in rest:
            yield chunk
