"""Waiting for several things at once, of which the first to fail fails all."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

from wavelet.errors import WaveletError

T = TypeVar("T")


async def together(coroutines: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Return the results in the order of what was given; when one fails, the others are cancelled.

    Raises:
        WaveletError: the first one that came up, as it is and not in a group.
    """
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(each) for each in coroutines]
    except ExceptionGroup as errors:
        known = [error for error in errors.exceptions if isinstance(error, WaveletError)]
        if len(known) < len(errors.exceptions):
            raise
        raise known[0] from None
    return [task.result() for task in tasks]
