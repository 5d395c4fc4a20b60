"""When a daemon counts as idle."""

from __future__ import annotations

import asyncio
import time

from wavelet.front.connections import Activity


async def test_requests_and_work_are_use_and_their_end_begins_the_time() -> None:
    works = True
    activity = Activity(lambda: works)
    with activity.request("a request"):
        await asyncio.sleep(0.02)
        assert activity.idle() < 0.01
    await asyncio.sleep(0.02)
    assert activity.idle() < 0.01  # a job that nobody waits for goes on
    works = False
    await asyncio.sleep(0.02)
    assert activity.idle() >= 0.02


async def test_waiting_ends_so_long_after_the_last_use_and_no_sooner() -> None:
    activity = Activity(lambda: False)
    waiting = asyncio.create_task(activity.wait_idle(0.1))
    await asyncio.sleep(0.06)
    with activity.request("a request"):
        await asyncio.sleep(0.06)
    ended = time.monotonic()
    await waiting
    assert time.monotonic() - ended >= 0.09
