"""Work on several things at one time, with progress: one that fails stops no other.

Threads do it, which end with the process: whoever interrupts the command waits for no answer of the daemon.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from wavelet.cli.progress import Progress, progress
from wavelet.cli.pull.download import Report
from wavelet.errors import WaveletError

T = TypeVar("T")
R = TypeVar("R")

_ALL = "all images"


@dataclass(frozen=True, slots=True)
class Job(Generic[T]):
    """One of them: what it is called, and what is done with."""

    name: str
    subject: T


@dataclass(frozen=True, slots=True)
class _Event(Generic[R]):
    """How far a job is, or what came of it."""

    index: int
    done: int = 0
    total: int = 0
    result: R | Exception | None = None


def run_all(
    jobs: Sequence[Job[T]], at_once: int, act: Callable[[T, Report], R], said: Callable[[R | WaveletError], str]
) -> list[R | WaveletError]:
    """Do all jobs, show how far they are, and return what came of each, in their order.

    Args:
        jobs: what there is to do.
        at_once: how many at one time.
        act: does one; it is told whom to tell how far it is.
        said: what is said of one that has ended.
    """
    events: queue.SimpleQueue[_Event[R]] = queue.SimpleQueue()
    waiting = iter(enumerate(jobs))
    lock = threading.Lock()

    def work() -> None:
        while True:
            with lock:
                index, job = next(waiting, (-1, None))
            if job is None:
                return
            try:
                result: R | Exception = act(job.subject, lambda *far, at=index: events.put(_Event(at, *far)))
            except Exception as error:  # noqa: BLE001 - the main thread raises what is none of ours
                result = error
            events.put(_Event(index, result=result))

    for _ in range(min(at_once, len(jobs))):
        threading.Thread(target=work, daemon=True).start()
    with progress() as shown:
        return _follow(jobs, events, said, shown)


def _follow(
    jobs: Sequence[Job[T]],
    events: queue.SimpleQueue[_Event[R]],
    said: Callable[[R | WaveletError], str],
    shown: Progress,
) -> list[R | WaveletError]:
    ended: dict[int, R | WaveletError] = {}
    shown.update(_ALL, 0, len(jobs), in_bytes=False)
    while len(ended) < len(jobs):
        event = events.get()
        name, result = jobs[event.index].name, event.result
        if result is None:
            shown.update(name, event.done, event.total, in_bytes=True)
            continue
        if isinstance(result, Exception) and not isinstance(result, WaveletError):
            raise result
        ended[event.index] = result
        shown.end(name)
        shown.say(f"{name}: {said(result)}")
        shown.update(_ALL, len(ended), len(jobs), in_bytes=False)
    return [ended[index] for index in range(len(jobs))]
