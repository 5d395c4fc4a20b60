"""Latency of the status route while 5,000 requests are pending on an upstream that accepts connections and never
answers: each is asked for in turn (wrk, one keep-alive connection, two seconds a round, five rounds), and again by
eight connections at once.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from threading import Event, Thread

from field import Field
from load import load
from report import Row, bounded

from lab import nextflow
from lab.daemon import Daemon
from lab.http import get
from lab.processes import LabError

PENDING = 5000
AT_ONCE = 1000
ROUNDS = 5
SECONDS = 2.0


def measure(field: Field) -> list[Row]:
    """Return the percentiles."""
    with ExitStack() as stack:
        silent = stack.enter_context(_silent_server())
        daemon = Daemon(field.fresh("pending"))
        stack.callback(daemon.stop)
        daemon.start()
        tokens = asyncio.run(_post_all(daemon, silent))
        asked = field.fresh("status")
        asked.write_text("".join(f"GET\t/v1alpha2/container/{token}/status\t\n" for token in tokens))
        alone = [load(daemon.url, seconds=SECONDS, requests=asked) for _ in range(ROUNDS)]
        eight = [load(daemon.url, seconds=SECONDS, requests=asked, clients=8) for _ in range(ROUNDS)]
        _check_pending(daemon, tokens)
    several = sorted(each.p99 for each in eight)[ROUNDS // 2]
    rate = sorted(each.requests_per_second for each in eight)[ROUNDS // 2]
    return [
        bounded(f"status with {PENDING:,} pending, p99", [each.p99 for each in alone], "ms", 2.0),
        Row(f"status with {PENDING:,} pending, 8 clients, p99", f"{several:.3g} ms at {rate:,.0f}/s"),
    ]


async def _post_all(daemon: Daemon, silent: str) -> list[str]:
    limit = asyncio.Semaphore(AT_ONCE)

    async def post(number: int) -> str:
        async with limit:
            return await _post(daemon, f"{silent}/pending/n{number}:1")

    return await asyncio.gather(*map(post, range(PENDING)))


async def _post(daemon: Daemon, image: str) -> str:
    body = json.dumps(nextflow.body(containerImage=image)).encode()
    head = f"POST /v1alpha2/container HTTP/1.1\r\nHost: {daemon.authority}\r\nContent-Type: application/json\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", daemon.port)
    try:
        writer.write(f"{head}Connection: close\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        answer = await reader.read()
    finally:
        writer.close()
    status, _, rest = answer.partition(b"\r\n\r\n")
    if not status.startswith(b"HTTP/1.1 200"):
        raise LabError(f"POST: {answer!r}")
    return str(json.loads(rest)["requestId"])


def _check_pending(daemon: Daemon, tokens: list[str]) -> None:
    for token in tokens[:: PENDING // 10]:
        state = get(f"{daemon.url}/v1alpha2/container/{token}/status").json()
        if state["status"] != "PENDING":
            raise LabError(f"not pending any more: {state}")


@contextmanager
def _silent_server() -> Iterator[str]:
    """Run a server that accepts connections, reads, and says nothing; give its address."""
    loop = asyncio.new_event_loop()
    started, address = Event(), ""

    async def serve() -> None:
        nonlocal address
        server = await asyncio.start_server(_listen_only, "127.0.0.1", 0)
        address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        started.set()
        await asyncio.Event().wait()

    task = loop.create_task(serve())
    thread = Thread(target=lambda: _run(loop, task), daemon=True)
    thread.start()
    started.wait()
    try:
        yield address
    finally:
        loop.call_soon_threadsafe(task.cancel)
        thread.join(10)


async def _listen_only(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    await reader.read()


def _run(loop: asyncio.AbstractEventLoop, task: asyncio.Task[None]) -> None:
    try:
        loop.run_until_complete(task)
    except asyncio.CancelledError:
        loop.close()
