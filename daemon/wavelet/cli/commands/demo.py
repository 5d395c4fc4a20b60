"""`wavelet demo`: the main job, shown by itself in the first minute: a request, its name, a pull, what is inside."""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import signal
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp

from wavelet.app import running
from wavelet.cli.commands import serve
from wavelet.cli.demo.engine import Engine, find_engine
from wavelet.cli.demo.puller import pull
from wavelet.cli.demo.sample import SampleRegistry, pack
from wavelet.config import Settings
from wavelet.errors import EngineFailed, UpstreamBroken
from wavelet.image.reference import Digest
from wavelet.logs import setup_logging

REQUEST_LIMIT = 30.0
"""Seconds for the request."""

ADDED_FILE = "added/by-request.txt"
ADDED_TEXT = b"this file was not in the image: the request has added it\n"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    serve.add_arguments(parser)
    parser.add_argument("--once", action="store_true", help="end after the show")


def run(options: argparse.Namespace) -> int:
    """Run the show.

    Raises:
        WaveletError: what went wrong in it, or why the daemon cannot run.
    """
    settings = serve.source_of(options).read()
    setup_logging(settings.log_format, "warning")
    asyncio.run(demo(settings, once=options.once))
    return 0


async def demo(settings: Settings, *, once: bool) -> None:
    """Run the daemon, show its main job, and go on serving until SIGINT or SIGTERM (not if `once`).

    Raises:
        ConfigError: the daemon cannot run with these settings.
        WaveletError: what went wrong in the show.
    """
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    started = time.monotonic()
    async with running(settings) as address, _sample() as image:
        _say(f"wavelet serves on http://{address}, ready after {_since(started)}")
        _say(f"an embedded registry holds {image}")
        await _show(address, image)
        _say("")
        _say("To use it, put these two lines into nextflow.config:")
        _say("")
        _say("    wave.enabled  = true")
        _say(f"    wave.endpoint = 'http://{address}'")
        _say("")
        if not once:
            _say("Serving until Ctrl-C.")
            await stop.wait()


@contextlib.asynccontextmanager
async def _sample() -> AsyncIterator[str]:
    registry = SampleRegistry()
    try:
        yield await registry.start()
    finally:
        await registry.stop()


async def _show(address: str, image: str) -> None:
    layer = pack({ADDED_FILE: (ADDED_TEXT, 0o644)})
    body: dict[str, object] = {
        "containerImage": image,
        "containerPlatform": "linux/amd64",
        "containerConfig": {
            "env": ["GREETING=hello from the request"],
            "layers": [
                {
                    "location": "data:" + base64.b64encode(layer.blob).decode(),
                    "gzipDigest": Digest.of(layer.blob),
                    "gzipSize": len(layer.blob),
                    "tarDigest": layer.diff_id,
                }
            ],
        },
    }
    _say("")
    _say(f"1. Ask, as Nextflow does: POST /v1alpha2/container for {image} with a layer and a variable added")
    started = time.monotonic()
    name = await _request_container(f"http://{address}/v1alpha2/container", body)
    _say(f"   the answer, after {_since(started)}: {name}")
    with tempfile.TemporaryDirectory(prefix="wavelet-demo-") as directory:
        _say("2. Pull that name with the built-in client, which verifies every digest and unpacks")
        await _pull_twice(name, Path(directory))
    engine = await find_engine()
    if engine is None:
        _say("3. No container engine answers on this machine: docker and podman pull the same name when there is one")
    else:
        await _with_engine(engine, name)


async def _pull_twice(name: str, directory: Path) -> None:
    started = time.monotonic()
    pulled = await pull(name, directory)
    cold = _since(started)
    started = time.monotonic()
    await pull(name, directory)
    _say(f"   {pulled.digest}, {pulled.bytes_read} bytes; cold {cold}, warm {_since(started)}")
    for path, size in await asyncio.to_thread(_files, directory):
        _say(f"   /{path}  {size} bytes{'   <- added' if path == ADDED_FILE else ''}")
    _say(f"   environment: {', '.join(pulled.environment)}")


def _files(directory: Path) -> list[tuple[str, int]]:
    files = sorted(each for each in directory.rglob("*") if each.is_file())
    return [(each.relative_to(directory).as_posix(), each.stat().st_size) for each in files]


async def _with_engine(engine: Engine, name: str) -> None:
    _say(f"3. Pull and run it with {engine.name}")
    try:
        started = time.monotonic()
        await engine.pull(name)
        _say(f"   pulled after {_since(started)}")
        _say(f"   environment: {', '.join((await engine.environment(name)).splitlines())}")
        _say(f"   it says: {await engine.run(name)}")
        await engine.remove(name)
    except EngineFailed as error:
        _say(f"   {error.message}")


async def _request_container(url: str, body: dict[str, object]) -> str:
    """Return the name of the container."""
    timeout = aiohttp.ClientTimeout(total=REQUEST_LIMIT)
    async with aiohttp.ClientSession(timeout=timeout) as session, session.post(url, json=body) as answer:
        if answer.status != 200:
            raise UpstreamBroken(f"the daemon answered {answer.status}: {await answer.text()}")
        return str((await answer.json())["targetImage"])


def _since(started: float) -> str:
    return f"{(time.monotonic() - started) * 1000:.0f} ms"


def _say(line: str) -> None:
    print(line, flush=True)
