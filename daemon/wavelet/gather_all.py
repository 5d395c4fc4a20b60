"""A wait for several things at once: a definite no of one of them stands, whatever the others still wait for."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import TypeVar

from wavelet.errors import CallerError

T = TypeVar("T")

NO_WAIT = 2.0
"""Seconds that a failure which may pass gives the others, for one of them may know a definite no."""


async def gather_all(coroutines: Iterable[Coroutine[object, None, T]]) -> list[T]:
    """Return the results in the order of what was given; when one fails, the others are cancelled.

    Raises:
        CallerError: the first definite no, at once.
        Exception: else the first failure in the order of what was given, `NO_WAIT` after the first one at the latest.
    """
    tasks = [asyncio.ensure_future(each) for each in coroutines]
    try:
        await _settled(tasks)
    finally:
        for task in tasks:
            task.cancel()
        # What is cancelled is waited for: nothing goes on behind the caller's back.
        await asyncio.gather(*tasks, return_exceptions=True)
    failures = [error for task in tasks if not task.cancelled() and (error := task.exception()) is not None]
    for error in sorted(failures, key=lambda each: not isinstance(each, CallerError)):
        raise error
    return [task.result() for task in tasks]


async def _settled(tasks: list[asyncio.Task[T]]) -> None:
    """Wait until all have ended, or a failure stands."""
    loop = asyncio.get_running_loop()
    settled = asyncio.Event()
    left = len(tasks)

    def ended(task: asyncio.Task[T]) -> None:
        nonlocal left
        left -= 1
        error = None if task.cancelled() else task.exception()
        if not left or isinstance(error, CallerError):
            settled.set()
        elif error is not None:
            loop.call_later(NO_WAIT, settled.set)

    for task in tasks:
        task.add_done_callback(ended)
    if tasks:
        await settled.wait()
