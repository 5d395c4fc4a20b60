"""`Resolve` over the user socket for an image that is pinned already, from a process of its own: one call after the
other (p50), and 16 callers at once (calls a second), three rounds each; beside the same request by `POST`, from the
same process by Python's own HTTP client on one connection.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from field import Field
from report import Row, bounded

from lab import nextflow
from lab.daemon import Daemon

ROUNDS = 3

CALLER = """
import asyncio, http.client, json, sys, time
from wavelet.client import AsyncClient

target, authority, image, body = sys.argv[1:]
CALLS, CALLERS = 1500, 16

async def measured():
    async with AsyncClient(target) as client:
        async def calls(count, times):
            for _ in range(count):
                began = time.perf_counter()
                await client.resolve(container_image=image)
                times.append(time.perf_counter() - began)
        await calls(100, [])
        alone = []
        await calls(CALLS, alone)
        began = time.perf_counter()
        await asyncio.gather(*(calls(CALLS // CALLERS, []) for _ in range(CALLERS)))
        rate = CALLS // CALLERS * CALLERS / (time.perf_counter() - began)
        return sorted(alone)[CALLS // 2] * 1000, rate

def posted():
    connection, times = http.client.HTTPConnection(authority), []
    for _ in range(CALLS):
        began = time.perf_counter()
        connection.request("POST", "/v1alpha2/container", body, {"Content-Type": "application/json"})
        connection.getresponse().read()
        times.append(time.perf_counter() - began)
    return sorted(times)[CALLS // 2] * 1000

p50, rate = asyncio.run(measured())
print(json.dumps({"p50": p50, "rate": rate, "post": posted()}))
"""
"""The calling process's program."""


def measure(field: Field) -> list[Row]:
    """Return milliseconds of a call, and calls a second."""
    image = f"{field.registry.host}/{field.REPOSITORY}:{field.TAG}"
    directory = field.fresh("grpc")
    directory.mkdir()
    daemon = Daemon(directory / "state")
    daemon.start()
    try:
        nextflow.ask(daemon, containerImage=image)
        rounds = [_round(daemon, image) for _ in range(ROUNDS)]
    finally:
        daemon.stop()
    post = sorted(each["post"] for each in rounds)[ROUNDS // 2]
    rates = sorted(each["rate"] for each in rounds)
    return [
        bounded("gRPC Resolve, p50", [each["p50"] for each in rounds], "ms", 3.0, f"POST from Python: {post:.3g} ms"),
        Row("gRPC Resolve, 16 callers", f"{rates[ROUNDS // 2]:,.0f}/s ({rates[0]:,.0f} to {rates[-1]:,.0f})"),
    ]


def _round(daemon: Daemon, image: str) -> dict[str, float]:
    target = f"unix:{Path(daemon.state) / 'wavelet.sock'}"
    body = json.dumps(nextflow.body(containerImage=image))
    command = [sys.executable, "-c", CALLER, target, daemon.authority, image, body]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
    return dict(json.loads(done.stdout))
