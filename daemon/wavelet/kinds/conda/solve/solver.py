"""The daemon's side of the solver process: starts it when it is needed, ends it when it is not, bounds every wait.

A request whose process dies is made once more in a new one. The process gets no login and no way to anything but this
node itself: what it reads of channels goes through the relay.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import secrets
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from wavelet import directory_trees
from wavelet.config import Apply, Settings
from wavelet.errors import (
    AccessRefused,
    Internal,
    InvalidRequest,
    NotFound,
    Unsolvable,
    UpstreamBroken,
    UpstreamUnreachable,
    WaveletError,
)
from wavelet.image.reference import DEFAULT_PLATFORM
from wavelet.kinds.conda.solve.messages import (
    LENGTH_BYTES,
    USUAL_SUBDIR,
    Answer,
    Failed,
    Lookup,
    Origin,
    Record,
    Request,
    Solve,
    Virtual,
    frame,
    read_answer,
)
from wavelet.kinds.other_architecture import remedy

log = structlog.get_logger()

Failure = Callable[[Iterable[str], float], WaveletError | None]
"""Says why channels or their files, by URL, could not be had since a time (`time.monotonic`), if they could not."""

GenerationsOf = Callable[[Iterable[str]], Awaitable[Mapping[str, int]]]

INDEX_LIMIT = 300.0
"""Seconds that channels' indexes may take to arrive, besides the time of the solver itself."""

IDLE_LIMIT = 300.0
"""Seconds after which a process is ended that nobody asks: large channels take hundreds of megabytes in it."""

END_LIMIT = 5.0
"""Seconds that a process has for ending by itself."""

ATTEMPTS = 2
"""How often a request is made whose process dies."""

SAYS = "; the solver says:\n"
"""What stands between an error's first sentence and the solver's own words."""

_OF_CHANNELS = ("missing", "refused", "unreachable", "broken")
_NOWHERE = "http://127.0.0.1:9"
_PROXIES = {"HTTP_PROXY": _NOWHERE, "HTTPS_PROXY": _NOWHERE, "ALL_PROXY": _NOWHERE, "NO_PROXY": "127.0.0.1"}
"""Whatever an index says, and whatever proxies this node has: the process reaches the relay, and nothing else."""

_KEPT = ("PATH", "PYTHONPATH", "LANG", "LC_ALL", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR")


@dataclass(frozen=True, slots=True)
class Question:
    """What is to be solved; see `messages.Solve`."""

    specs: tuple[str, ...]
    channels: tuple[str, ...]
    subdir: str
    virtual: tuple[Virtual, ...]
    newest: float | None = None
    locked: tuple[str, ...] = ()
    origins: tuple[Origin, ...] = ()


class _Died(Exception):
    """The process ended before it answered."""


@dataclass(eq=False)
class _Process:
    process: asyncio.subprocess.Process
    place: Path
    waiting: dict[int, asyncio.Future[Answer]] = field(default_factory=dict)
    alive: bool = True

    def send(self, data: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(data)

    def end(self) -> None:
        """Let it end: it does when its standard input closes."""
        assert self.process.stdin is not None
        self.process.stdin.close()

    def end_if_idle(self) -> None:
        """End it if nobody waits for an answer."""
        if not self.waiting:
            self.end()


class Solver:
    """See the module."""

    def __init__(
        self,
        directory: Path,
        settings: Settings,
        *,
        mirror: Callable[[str], str],
        generations: GenerationsOf,
        failure: Failure = lambda subjects, since: None,
    ) -> None:
        """Nothing is started yet.

        Args:
            directory: for the library's cache of indexes.
            settings: say for how long one solve may take.
            mirror: where the process asks for what is under an http(s) URL.
            generations: says of channels which generation of their indexes there is; see `Generations`.
            failure: knows better than the process why something at a mirror could not be had.
        """
        self._directory = directory
        self._mirror = mirror
        self._generations = generations
        self._failure = failure
        self._numbers = itertools.count(1)
        self._starting = asyncio.Lock()
        self._process: _Process | None = None
        self._pumps: dict[asyncio.Task[None], _Process] = {}
        self._idle: asyncio.TimerHandle | None = None
        self.configure(settings)()

    def configure(self, settings: Settings) -> Apply:
        """See `Configurable`: how many seconds a solve may take."""

        def apply() -> None:
            self._limit = settings.conda.solve_limit

        return apply

    async def solve(self, question: Question) -> tuple[Record, ...]:
        """Return the packages that satisfy the question, without those that were locked, in no order.

        Raises:
            Unsolvable: there are none, or none were found in time.
            InvalidRequest: a spec is none.
            NotFound, AccessRefused, UpstreamError: what channels answered.
            Internal: the process died twice over it, or the library has a defect.
        """
        request = Solve(
            number=next(self._numbers),
            specs=question.specs,
            channels=question.channels,
            mirrors=self._mirrors(question.channels),
            subdir=question.subdir,
            virtual=question.virtual,
            newest=question.newest,
            locked=question.locked,
            limit=self._limit,
            origins=question.origins,
            generations=await self._generations(question.channels),
        )
        began = time.monotonic()
        answer = await self._ask(request, self._limit + INDEX_LIMIT)
        if isinstance(answer, Failed):
            raise self._known(answer, question.channels, began) or _solve_error(answer, question, self._limit)
        return answer.records

    async def lookup(self, urls: tuple[str, ...]) -> tuple[Record, ...]:
        """Return what the channels' indexes say of packages, leaving out those that they do not have.

        Raises:
            NotFound, AccessRefused, UpstreamError, Internal: as `solve`.
        """
        channels = sorted({url.rsplit("/", 2)[0] for url in urls})
        mirrors = self._mirrors(channels)
        generations = await self._generations(channels)
        request = Lookup(number=next(self._numbers), urls=urls, mirrors=mirrors, generations=generations)
        began = time.monotonic()
        answer = await self._ask(request, INDEX_LIMIT)
        if isinstance(answer, Failed):
            raise self._known(answer, channels, began) or _channel_error(answer, channels)
        return answer.records

    def _known(self, failed: Failed, channels: Sequence[str], began: float) -> WaveletError | None:
        """Return why a channel could not be read, if that is what has failed and it is known."""
        if failed.kind not in _OF_CHANNELS:
            return None
        known = self._failure([failed.subject] if failed.subject else channels, began)
        return None if known is None else known.with_message(known.message)

    async def close(self) -> None:
        """End the process."""
        if self._idle is not None:
            self._idle.cancel()
        self._process = None
        for process in self._pumps.values():
            process.end()
        await asyncio.gather(*self._pumps, return_exceptions=True)

    def _mirrors(self, channels: Sequence[str]) -> Mapping[str, str]:
        return {f"{url}/": f"{self._mirror(url)}/" for url in channels if not url.startswith("file:")}

    async def _ask(self, request: Request, wait: float) -> Answer:
        for _ in range(ATTEMPTS):
            process = await self._running()
            try:
                async with asyncio.timeout(wait):
                    return await self._exchange(process, request)
            except _Died:
                log.warning("the solver process died over a request")
            except TimeoutError:
                self._retire(process)
                message = f"the channels' indexes were not read within {wait:.0f} s"
                raise UpstreamUnreachable(message, field="packages.channels") from None
        error_id = secrets.token_hex(6)
        log.error("the solver process died twice over one request", id=error_id)
        raise Internal(f"the solver process died over this request; the log says more under the error id {error_id}")

    async def _exchange(self, process: _Process, request: Request) -> Answer:
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        process.waiting[request.number] = future
        if self._idle is not None:
            self._idle.cancel()
        try:
            process.send(frame(request))
            return await future
        finally:
            del process.waiting[request.number]
            if process is not self._process:
                process.end_if_idle()
            elif not process.waiting:
                self._idle = asyncio.get_running_loop().call_later(IDLE_LIMIT, self._retire, process)

    def _retire(self, process: _Process) -> None:
        """Give a process nothing more to do: it hangs, or nobody asks. Those who wait for it may go on waiting."""
        if process is self._process:
            self._process = None
        process.end_if_idle()

    async def _running(self) -> _Process:
        async with self._starting:
            if self._process is None or not self._process.alive:
                self._process = await self._start()
            return self._process

    async def _start(self) -> _Process:
        environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
        # The library never writes its copies of indexes durably, nor bounds them. The relay has them all, so that each
        # process begins without any. Its configuration is none of the daemon user's either.
        place = await asyncio.to_thread(_make_place, self._directory, {each.place for each in self._pumps.values()})
        home = {"HOME": str(place), "RATTLER_CACHE_DIR": str(place)}
        started = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "wavelet.kinds.conda.solve.worker", str(place)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environment | _PROXIES | home,
            start_new_session=True,
        )
        process = _Process(started, place)
        pump = asyncio.create_task(_pump(process))
        self._pumps[pump] = process
        pump.add_done_callback(self._pumps.pop)
        return process


def _make_place(directory: Path, in_use: Set[Path]) -> Path:
    """Return a new directory for a process; those of processes that have ended are removed."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    for left in set(directory.iterdir()) - in_use:
        with contextlib.suppress(OSError):  # it is in nobody's way
            directory_trees.remove(left)
    return Path(tempfile.mkdtemp(dir=directory))


async def _pump(process: _Process) -> None:
    """Hand out answers until the process ends; then nobody waits for it any more."""
    logging = asyncio.create_task(_log_errors(process.process))
    try:
        await _hand_out(process)
    finally:
        process.alive = False
        for future in process.waiting.values():
            if not future.done():
                future.set_exception(_Died())
        process.end()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.process.wait(), END_LIMIT)
        if process.process.returncode is None:
            process.process.kill()
            await process.process.wait()
        await logging


async def _hand_out(process: _Process) -> None:
    reader = process.process.stdout
    assert reader is not None
    with contextlib.suppress(asyncio.IncompleteReadError):
        while True:
            size = int.from_bytes(await reader.readexactly(LENGTH_BYTES), "big")
            answer = read_answer(await reader.readexactly(size))
            future = process.waiting.get(answer.number)
            if future is not None and not future.done():
                future.set_result(answer)


async def _log_errors(process: asyncio.subprocess.Process) -> None:
    assert process.stderr is not None
    while line := await process.stderr.read(4096):
        log.warning("the solver process says", text=line.decode("utf-8", "replace").strip())


def _solve_error(failed: Failed, question: Question, limit: float) -> WaveletError:
    asked = ", ".join(question.specs)
    where = f"{question.subdir} in {', '.join(question.channels)}"
    match failed.kind:
        case "spec":
            message = f"packages.entries: {failed.subject!r} is not a spec of a conda package: {failed.text}"
            return InvalidRequest(message, field="packages.entries")
        case "unsolvable":
            there = f"; {failed.there}" if failed.there else ""
            lack, todo = _only_usual(failed.elsewhere, question.subdir)
            message = f"no set of packages for {where} satisfies {asked}{lack}{there}{todo}{SAYS}{failed.text}"
            return Unsolvable(message, field="packages.entries")
        case "limit":
            message = (
                f"the solver found no packages for {where} that satisfy {asked} within {limit:.0f} s "
                "(conda.solve_limit); naming versions makes the search shorter"
            )
            return Unsolvable(message, field="packages.entries")
        case _:
            return _channel_error(failed, question.channels)


def _only_usual(specs: Sequence[str], subdir: str) -> tuple[str, str]:
    """Return what is said of packages that are there for the usual platform alone, and what helps; or nothing."""
    if not specs:
        return "", ""
    are = "is" if len(specs) == 1 else "are"
    lack = f"; {', '.join(specs)} {are} built for {USUAL_SUBDIR}, and neither for {subdir} nor for noarch"
    return lack, f"; {remedy(DEFAULT_PLATFORM)}"


def _channel_error(failed: Failed, channels: Sequence[str]) -> WaveletError:
    channel = failed.subject or f"a channel among {', '.join(channels)}"
    match failed.kind:
        case "missing":
            message = f"{channel} is no conda channel, or has no packages for this platform: {failed.text}"
            return NotFound(message, field="packages.channels")
        case "refused":
            message = f"{channel} wants a login, or another one: {failed.text}"
            return AccessRefused(message, field="packages.channels")
        case "unreachable":
            message = f"{channel} cannot be read: {failed.text}"
            return UpstreamUnreachable(message, field="packages.channels")
        case "broken":
            message = f"{channel} has an index that is none: {failed.text}"
            return UpstreamBroken(message, field="packages.channels")
        case _:
            error_id = secrets.token_hex(6)
            log.error("the solver library failed", id=error_id, reason=failed.text)
            return Internal(f"the solver has a defect; the log says more under the error id {error_id}")
