"""A plug-in for a small workflow engine: every task's container comes from the wavelet daemon of this node.

The engine reads its tasks from a JSON file, a list of objects with `name`, `command` (a list), and either `image` or
`packages` (a list of match specs). It starts each one with a command in which `{image}` is the container's name:

    python engine_plugin.py tasks.json -- docker run --rm {image}
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

from wavelet.client import AsyncClient, WaveletRpcError
from wavelet.v1.containers_pb2 import Phase, WatchResponse

CONTAINER_LIMIT = 900.0
"""Seconds that a task waits for its container."""

ATTEMPTS = 3


@dataclass(frozen=True)
class Task:
    """A task as the engine knows it."""

    name: str
    command: Sequence[str]
    image: str | None = None
    packages: Sequence[str] | None = None


class TaskRefused(Exception):
    """The task cannot run as it stands: its author has to change it."""


class Containers:
    """The hook that the engine calls before it starts a task."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client.within(CONTAINER_LIMIT)

    async def image_for(self, task: Task) -> str:
        """Return the name to give to the container engine, once a pull of it needs no wait.

        Many tasks with one container ask many times: the daemon does the work once.

        Raises:
            TaskRefused: what the task asks for does not exist, or is not allowed.
            WaveletRpcError: a registry or the daemon does not do its part, and has not for all attempts.
        """
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return await self._ready(task)
            except WaveletRpcError as error:
                if error.fault == "caller":
                    where = f" ({error.field})" if error.field else ""
                    raise TaskRefused(f"{error.message}{where}") from error
                # The client repeats by itself what is refused at the start of a call; this is work that broke off.
                if error.retry_after is None or attempt == ATTEMPTS:
                    raise
                say(task, f"again in {error.retry_after:.0f} s: {error.message}")
                await asyncio.sleep(error.retry_after)
        raise AssertionError("the last attempt returns or raises")

    async def _ready(self, task: Task) -> str:
        # Without a wait the name is known at once: a scheduler of other nodes could already send it there.
        container = await self._client.resolve(container_image=task.image, packages=task.packages, wait=0.0)
        # If the engine cancels this task, leaving the block tells the daemon, which ends work that nobody else wants.
        async with aclosing(self._client.watch(container.token)) as events:
            async for event in events:
                say(task, described(event))
        return container.target_image


def described(event: WatchResponse) -> str:
    """Return one line for a progress display."""
    match event.WhichOneof("event"):
        case "phase":
            return Phase.Name(event.phase).removeprefix("PHASE_").lower()
        case "packages":
            return f"packages {event.packages.done}/{event.packages.total}"
        case "bytes":
            return f"bytes {event.bytes.done}/{event.bytes.total}"
        case "log_line":
            return event.log_line
        case "ready":
            return f"ready {event.ready.target_image}"
        case _:
            return "something that this plug-in does not know yet"


def say(task: Task, text: str) -> None:
    """Show how a task goes."""
    print(f"{task.name}: {text}", flush=True)


async def run(task: Task, containers: Containers, runner: Sequence[str]) -> bool:
    """Run one task and return whether it succeeded."""
    try:
        image = await containers.image_for(task)
    except TaskRefused as refused:
        say(task, f"refused: {refused}")
        return False
    except WaveletRpcError as error:
        say(task, f"no container, through no fault of the task ({error.fault}): {error.message}")
        return False
    command = [part.replace("{image}", image) for part in runner] + list(task.command)
    process = await asyncio.create_subprocess_exec(*command)
    try:
        status = await process.wait()
    except asyncio.CancelledError:
        process.terminate()
        await process.wait()
        raise
    say(task, f"ended with {status}")
    return status == 0


async def engine(tasks: Sequence[Task], runner: Sequence[str]) -> bool:
    """Run all tasks at one time and return whether all succeeded."""
    async with AsyncClient() as client, asyncio.TaskGroup() as group:
        containers = Containers(client)
        running = [group.create_task(run(task, containers, runner)) for task in tasks]
    return all(task.result() for task in running)


def main() -> int:
    """Run the tasks of the file that is named."""
    if len(sys.argv) < 4 or sys.argv[2] != "--":
        print(__doc__, file=sys.stderr)
        return 2
    path, runner = sys.argv[1], sys.argv[3:]
    tasks = [Task(**task) for task in json.loads(Path(path).read_text())]
    return 0 if asyncio.run(engine(tasks, runner)) else 1


if __name__ == "__main__":
    sys.exit(main())
