"""Worker processes for what would hold up the event loop: linking, compressing, reading layers.

They are spawned at first use, yield to whoever serves, end when nothing was asked of them for a while, and die with the
daemon however it ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import errno
import multiprocessing
import os
import platform
import resource
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, TypeVar
from weakref import WeakSet

import structlog

from wavelet.errors import Internal, NoSpace, WaitExpired

log = structlog.get_logger()

T = TypeVar("T")

IDLE_LIFETIME = 300.0
"""Seconds without work after which the processes end: each holds tens of megabytes."""

NICENESS = 5
"""How far workers stand back behind the process that serves pulls (nice(2))."""

_IOPRIO_SET = {"x86_64": 251, "aarch64": 30}
_IOPRIO_WHO_PROCESS = 1
_IOPRIO_CLASS_IDLE = 3 << 13
"""The disk is theirs when nobody else wants it (ioprio_set(2), which no library has)."""

MEMORY_LIMIT = 4 * 1024**3
"""Bytes of address space of a worker: what is made streams, and takes tens of megabytes."""

FUNCTION_LIMIT = 1800.0
"""Seconds that one function may take."""

ATTEMPTS = 2
"""How often a function is begun whose process died over it, which may have been another function's fault."""

_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EFBIG})


class Workers:
    """At most `count` processes. All methods are called in the loop's thread."""

    def __init__(self, count: int) -> None:
        self._count = count or len(os.sched_getaffinity(0))
        self._pool: ProcessPoolExecutor | None = None
        self._places = asyncio.Semaphore(self._count)
        self._ended: WeakSet[ProcessPoolExecutor] = WeakSet()
        self._running = 0
        self._idle: asyncio.TimerHandle | None = None
        self._ending = asyncio.Event()

    async def run(self, function: Callable[..., T], *arguments: object) -> T:
        """Return what `function` returns in a worker; function, arguments and result are pickled.

        Raises:
            WaveletError: the function raised it.
            NoSpace: it could not write.
            Internal: it failed otherwise, or its process died twice.
        """
        self._running += 1
        if self._idle is not None:
            self._idle.cancel()
        try:
            async with self._places:
                return await self._run(function, *arguments)
        except MemoryError:
            raise Internal(f"{function.__name__} takes more than {MEMORY_LIMIT} bytes of memory") from None
        except OSError as error:
            if error.errno not in _DISK:
                raise
            raise NoSpace(f"the disk of the state directory cannot be written: {error.strerror}") from error
        finally:
            self._running -= 1
            if not self._running:
                self._idle = asyncio.get_running_loop().call_later(IDLE_LIFETIME, self._end_idle)

    async def _run(self, function: Callable[..., T], *arguments: object) -> T:
        deaths = 0
        while deaths < ATTEMPTS:
            pool = self._pool or self._start()
            try:
                with _interrupts_held():
                    running = pool.submit(function, *arguments)
                return await self._to_its_end(running)
            except TimeoutError:
                # Nothing else ends a process in the middle; what others had in this pool is begun again.
                self._ended.add(pool)
                self._kill(pool)
                raise WaitExpired(f"{function.__name__} has not ended in {FUNCTION_LIMIT:.0f} s") from None
            except BrokenProcessPool:
                log.warning("a worker process died", function=function.__name__)
                deaths += pool not in self._ended
                self._drop(pool)
        raise Internal(f"the worker process died over {function.__name__}; is there enough memory?")

    async def _to_its_end(self, running: Future[T]) -> T:
        """Return a function's result. If the caller goes away, wait all the same until it no longer writes anywhere.

        Raises:
            TimeoutError: it takes longer than `FUNCTION_LIMIT`.
        """
        ended = asyncio.wrap_future(running)
        ended.add_done_callback(_consume)
        try:
            done, _ = await asyncio.wait({ended}, timeout=FUNCTION_LIMIT)
        except asyncio.CancelledError:
            if running.cancel() or await self._ends(ended):
                raise
            raise TimeoutError from None
        if not done:
            raise TimeoutError
        return ended.result()

    async def _ends(self, running: asyncio.Future[Any]) -> bool:
        ending = asyncio.create_task(self._ending.wait())
        try:
            either = {running, ending}
            done, _ = await asyncio.wait(either, timeout=FUNCTION_LIMIT, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ending.cancel()
        return bool(done)

    def end(self) -> None:
        """Wait no longer for functions whose callers have gone away: `close` is next."""
        self._ending.set()

    def _start(self) -> ProcessPoolExecutor:
        context = multiprocessing.get_context("spawn")
        self._pool = ProcessPoolExecutor(self._count, mp_context=context, initializer=_begin)
        return self._pool

    def _drop(self, pool: ProcessPoolExecutor) -> None:
        # What runs in it is not cancelled: it fails when the processes have gone, and is begun again by whoever waits.
        pool.shutdown(wait=False)
        if self._pool is pool:
            self._pool = None

    def _kill(self, pool: ProcessPoolExecutor) -> list[BaseProcess]:
        processes = list(multiprocessing.active_children())
        for process in processes:
            process.kill()
        self._drop(pool)
        return processes

    def _end_idle(self) -> None:
        if self._pool is not None and not self._running:
            self._drop(self._pool)

    async def close(self) -> None:
        """End the processes, in the middle of their work if they have any."""
        if self._idle is not None:
            self._idle.cancel()
        if self._pool is not None:
            processes = self._kill(self._pool)
            await asyncio.gather(*(asyncio.to_thread(process.join) for process in processes))


@contextlib.contextmanager
def _interrupts_held() -> Iterator[None]:
    """Hold back SIGINT; a process that is started meanwhile inherits that.

    At Ctrl-C a terminal sends it to all processes of the group. When workers end the daemon says, and one that is
    just being started would end with a traceback.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _consume(ended: asyncio.Future[T]) -> None:
    # What nobody waits for any more need not be warned of.
    if not ended.cancelled():
        ended.exception()


def _begin() -> None:
    """Prepare a worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    with contextlib.suppress(OSError, ValueError):
        os.nice(NICENESS)
        if number := _IOPRIO_SET.get(platform.machine()):
            ctypes.CDLL(None).syscall(number, _IOPRIO_WHO_PROCESS, 0, _IOPRIO_CLASS_IDLE)
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))
        # Where memory runs out all the same, it is not the daemon that has to go.
        Path("/proc/self/oom_score_adj").write_text("500")
    threading.Thread(target=_end_with_parent, daemon=True, name="end with the daemon").start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
