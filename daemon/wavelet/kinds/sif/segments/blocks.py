"""The blocks of a segment: compressed in threads, written in the order in which they were given.

A block's bytes depend on nothing but what is in it and the codec, so that it does not matter how many threads there
are.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Final, Self

from wavelet.archive.squashfs.codecs import BLOCK, Codec
from wavelet.kinds.sif.segments.index import STORED
from wavelet.kinds.sif.segments.written_files import HashedFile

ZEROS: Final = bytes(BLOCK)

_THREADS = 4
"""Threads that compress, where there are as many CPUs."""
_AHEAD = 2 * _THREADS
"""Blocks that may wait for them, or to be written."""

_Taken = Callable[[int, int], None]
"""Hears where a block was put, and its size word."""


class BlockWriter:
    """Writes blocks and fragments into a segment's data. A context manager, with threads that compress meanwhile.

    Attributes:
        fragments: of each fragment block where it begins, and its size word; complete after `finish`.
    """

    def __init__(self, file: HashedFile, codec: Codec) -> None:
        self.fragments: list[tuple[int, int]] = []
        self._file = file
        self._codec = codec
        self._own = threading.local()
        self._threads = ThreadPoolExecutor(min(_THREADS, len(os.sched_getaffinity(0))), thread_name_prefix="compress")
        self._waiting: deque[tuple[Future[tuple[bytes, int]] | None, _Taken]] = deque()
        self._fragment = bytearray()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._threads.shutdown(cancel_futures=True)

    def block(self, data: bytes, taken: _Taken) -> None:
        """Add a block. `taken` is called in this thread, later."""
        while len(self._waiting) >= _AHEAD:
            self._take_one()
        self._waiting.append((self._threads.submit(self._compress, data), taken))

    def afterwards(self, call: Callable[[], None]) -> None:
        """Have something done once all blocks up to here are in the file."""
        if self._waiting:
            self._waiting.append((None, lambda start, word: call()))
        else:
            call()

    def pack(self, rest: bytes) -> tuple[int, int]:
        """Add what is less than a block; return which fragment block it is in, and where in that it begins."""
        if len(self._fragment) + len(rest) > BLOCK:
            self._end_fragment()
        offset = len(self._fragment)
        self._fragment += rest
        return len(self.fragments), offset

    def settle(self) -> None:
        """Wait until all blocks that were added are in the file, but for the last fragment block."""
        while self._waiting:
            self._take_one()

    def finish(self) -> None:
        """Write what is left."""
        if self._fragment:
            self._end_fragment()
        self.settle()

    def _end_fragment(self) -> None:
        number = len(self.fragments)
        self.fragments.append((0, 0))

        def taken(start: int, word: int) -> None:
            self.fragments[number] = (start, word)

        data, self._fragment = bytes(self._fragment), bytearray()
        self.block(data, taken)

    def _compress(self, data: bytes) -> tuple[bytes, int]:
        try:
            compress = self._own.compress
        except AttributeError:
            compress = self._own.compress = self._codec.compressor()
        compressed: bytes = compress(data)
        if len(compressed) < len(data):
            return compressed, len(compressed)
        return data, len(data) | STORED

    def _take_one(self) -> None:
        compressing, taken = self._waiting.popleft()
        start, word = self._file.size, 0
        if compressing is not None:
            data, word = compressing.result()
            self._file.write(data)
        taken(start, word)
