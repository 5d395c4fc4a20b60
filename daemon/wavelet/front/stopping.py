"""The end of a daemon, as who stops it sees it: what is waited for and how long, and an end at once if they insist."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine

import structlog

from wavelet.front.connections import Activity

FIRST_WORD = 0.3
"""Seconds of waiting after which it is said what is waited for."""

INTERVAL = 5.0
"""Seconds until it is said again."""

SHOWN = 3
"""Requests that are named; of more there is the number."""

log = structlog.get_logger()


async def wait_first(*waits: Coroutine[object, None, object], seconds: float) -> None:
    """Return when one of these has ended or the time is over, and end the others."""
    tasks = [asyncio.create_task(each) for each in waits]
    try:
        await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def say_what_is_waited_for(activity: Activity, grace: float) -> None:
    """Say what is waited for, again and again; ends only by being cancelled. `grace` is how long, in seconds."""
    loop = asyncio.get_running_loop()
    until = loop.time() + grace
    await asyncio.sleep(FIRST_WORD)
    while True:
        running = activity.running()
        log.info(
            "waiting for requests to end; a second Ctrl-C or SIGTERM ends at once",
            requests=len(running),
            at_most=f"{max(0.0, until - loop.time()):.0f} s",
            running=[f"{what} for {seconds:.0f} s" for what, seconds in running[:SHOWN]],
        )
        await asyncio.sleep(INTERVAL)
