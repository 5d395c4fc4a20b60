"""The draining of a stream into a file: the next bytes arrive while a thread hashes and writes those before."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

from wavelet.image.reference import Hasher

WRITE_SIZE = 1024 * 1024
"""Bytes handed to a thread at a time, to be hashed and written."""


async def drain(chunks: AsyncIterator[bytes], write: Callable[[list[bytes], int], Awaitable[None]]) -> None:
    """Hand all of `chunks` to `write`, some at a time with their bytes in all, one call after the other.

    Where the stream breaks off, what came just before it may not have been handed over.
    """
    waiting: list[bytes] = []
    size = 0
    writing: asyncio.Future[None] | None = None
    try:
        async for chunk in chunks:
            waiting.append(chunk)
            size += len(chunk)
            # A slow source's bytes are not held up.
            if writing is not None and (writing.done() or size >= WRITE_SIZE):
                await writing
                writing = None
            if writing is None:
                writing, waiting, size = asyncio.ensure_future(write(waiting, size)), [], 0
    finally:
        if writing is not None:
            await writing
    if waiting:
        await write(waiting, size)


async def hash_and_write(descriptor: int, position: int, chunks: Iterable[bytes], hasher: Hasher) -> None:
    """Write bytes at a position of a file, in a thread, which is waited for even where this is cancelled."""
    writing = asyncio.ensure_future(asyncio.to_thread(_hash_and_write, descriptor, position, chunks, hasher))
    try:
        await asyncio.shield(writing)
    except asyncio.CancelledError:
        await asyncio.wait({writing})  # the file is closed next, and its number may be another file's then
        raise


def _hash_and_write(descriptor: int, position: int, chunks: Iterable[bytes], hasher: Hasher) -> None:
    for chunk in chunks:
        hasher.update(chunk)
        view = memoryview(chunk)
        while view:
            count = os.pwrite(descriptor, view, position)
            view, position = view[count:], position + count
