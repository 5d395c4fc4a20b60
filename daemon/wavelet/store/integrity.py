"""The integrity of the bytes on disk: disks lose bits, and what can write to a file may do so.

Small content is compared with its digest whenever it is opened, and so is all content that something new is made of.
A large blob that is only handed out is not read for that, as its readers compare it themselves; but it is once its file
was changed since its bytes were last seen to be right, which the same look at the file tells that says whether it is
there. What nothing of this notices, the scrub finds (see `scrub.py`).
"""

from __future__ import annotations

import asyncio
import errno
import functools
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import structlog

from wavelet.concurrency import SingleFlight
from wavelet.errors import Stopping
from wavelet.image.reference import Digest
from wavelet.quantities import is_within
from wavelet.store.entries import Entries, Entry
from wavelet.store.files import changed_at
from wavelet.store.metrics import DAMAGED, SCRUBBED_BYTES

log = structlog.get_logger()

SMALL = 256 * 1024
"""Bytes up to which content is compared whenever it is opened: manifests and configurations are smaller."""

LATELY = 300.0
"""Seconds for which a comparison holds as long as the file stays unchanged: what was read lies in memory anyway."""

SCRUB_RATE = 32 * 1024 * 1024
"""Bytes a second that a scrub reads: an eighth of what a plain disk gives, a hundredth of a fast one."""

HANDED_OUT_AGE = 86400.0
"""Seconds after which a large blob that is handed out unread is due for the scrub."""

COLD = 3600.0
"""Seconds without a use after which a blob that is scrubbed leaves the page cache again: others want the room."""

_BLOCK = 1024 * 1024
_COMPARING = 2
_BROKEN = frozenset({errno.EIO, errno.EUCLEAN, errno.EBADMSG})
"""What reads fail with where the disk or the file system knows itself that the bytes are lost."""


@dataclass(frozen=True, slots=True)
class Compared:
    """Whether a file's bytes have the digest, and when it was last changed, as `files.changed_at` says it."""

    good: bool
    changed: int


def needs_comparison(entry: Entry, changed: int, *, thorough: bool) -> bool:
    """Tell whether a blob whose file was last changed at `changed` has to be compared before it is opened.

    Args:
        entry: what is known of it.
        changed: see `files.changed_at`.
        thorough: whether something new is made of it.
    """
    if entry.changed and entry.changed != changed:
        return True
    return (thorough or entry.size <= SMALL) and time.monotonic() - entry.lately > LATELY


class Integrity:
    """Sees to it that the bytes on disk are what they should be, as far as can be seen; for the loop's thread.

    It reads in threads of its own: what is fetched meanwhile is not held up.
    """

    def __init__(
        self, entries: Entries, path_of: Callable[[Digest], Path], remove: Callable[[list[Digest]], Awaitable[None]]
    ) -> None:
        """`path_of` says where a blob's file is; `remove` takes blobs out of `entries` and from the disk."""
        self._entries = entries
        self._path_of = path_of
        self._remove = remove
        self._threads = ThreadPoolExecutor(_COMPARING, "compare")
        self._scrubbing = ThreadPoolExecutor(1, "scrub", _be_nice)
        # A thread that compares cannot be ended; whoever asks again meanwhile joins it.
        self._comparing: SingleFlight[Digest, Compared | None] = SingleFlight("compare", keep=True)
        self._handed_out: OrderedDict[Digest, None] = OrderedDict()
        self._stopping = threading.Event()

    async def compare(self, digest: Digest) -> None:
        """Compare a blob with its digest, once however many ask, and take it out if it is damaged.

        Raises:
            Stopping: `close` was called.
        """
        entry = self._entries[digest]
        work = functools.partial(self._compare, self._path_of(digest), digest)
        loop = asyncio.get_running_loop()
        found = await self._comparing.run(digest, lambda: loop.run_in_executor(self._threads, work))
        await self._judge(digest, entry, found, "use")

    async def scrub(self, digest: Digest) -> None:
        """Do the same at leisure."""
        entry = self._entries.get(digest)
        if entry is not None:
            cold = not is_within(entry.used, time.time(), COLD)
            work = functools.partial(self._compare, self._path_of(digest), digest, rate=SCRUB_RATE, cold=cold)
            found = await asyncio.get_running_loop().run_in_executor(self._scrubbing, work)
            SCRUBBED_BYTES.inc(entry.size)
            await self._judge(digest, entry, found, "scrub")

    def handed_out(self, digest: Digest) -> None:
        """Have a blob scrubbed soon, unless it lately was: who finds that it is damaged asks for it again."""
        if not is_within(self._entries[digest].checked, time.time(), HANDED_OUT_AGE):
            self._handed_out[digest] = None

    def take_handed_out(self) -> Digest | None:
        """Return the next blob that `handed_out` was told of, if there is one."""
        return self._handed_out.popitem(last=False)[0] if self._handed_out else None

    def due(self, interval: float) -> list[Digest]:
        """Return the blobs whose bytes were not seen to be right in `interval` seconds, in the order to look at them.

        Those that are doubted come first, the last used first; then those that were not looked at for longest.
        """
        now = time.time()
        found = [
            (entry.checked, -entry.used, digest)
            for digest, entry in self._entries.items()
            if not is_within(entry.checked, now, interval)
        ]
        return [digest for _, _, digest in sorted(found)]

    async def doubt(self, *, everything: bool) -> None:
        """Rely no more on what was seen of blobs before: of those whose files were changed since, or of all."""
        for digest, entry in list(self._entries.items()):
            if everything or entry.changed != await asyncio.to_thread(changed_at, self._path_of(digest), entry.size):
                entry.checked = 0.0

    async def take_out(self, digest: Digest, by: str) -> None:
        """Remove a damaged blob; `by` is what has found it, for the metric: `use` or `scrub`."""
        entry = self._entries.get(digest)
        if entry is not None:
            DAMAGED.labels(by).inc()
            log.error("content is damaged on disk and was removed", digest=digest, size=entry.size, found_by=by)
            await self._remove([digest])

    async def _judge(self, digest: Digest, entry: Entry, found: Compared | None, by: str) -> None:
        if found is None or self._entries.get(digest) is not entry:
            return  # it has gone meanwhile, or came again
        if found.good:
            entry.hold_good(found.changed)
            self._entries.write_check(digest, entry)
        else:
            await self.take_out(digest, by)

    def close(self) -> None:
        """End what runs."""
        self._stopping.set()
        for threads in (self._threads, self._scrubbing):
            threads.shutdown(wait=False, cancel_futures=True)

    def _compare(self, path: Path, digest: Digest, rate: int = 0, cold: bool = False) -> Compared | None:
        hasher = digest.hasher()
        try:
            with path.open("rb", buffering=0) as file:
                changed = os.fstat(file.fileno()).st_ctime_ns
                try:
                    while block := file.read(_BLOCK):
                        hasher.update(block)
                        if self._stopping.wait(len(block) / rate) if rate else self._stopping.is_set():
                            raise Stopping
                except OSError as error:
                    if error.errno not in _BROKEN:
                        raise
                    return Compared(False, changed)
                finally:
                    if cold:
                        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        except FileNotFoundError:
            return None
        return Compared(digest.matches(hasher), changed)


def _be_nice() -> None:
    # On Linux a priority is a thread's own (sched(7), "The nice value").
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)
