"""A running daemon gets new settings under load: no connection ends, and what is wrong changes nothing."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from doubles.registry import Registry
from lab.daemon import Daemon

RELOADS = 20
WAIT = 10.0
"""Seconds within which new settings have to count."""

REFUSED: list[dict[str, Any]] = [
    {"hots": ["a.example"]},
    {"authority": "other:1"},
    {"hosts": ["a.example"], "upstream": {"registries": {"x": {"ca_file": "/nowhere/ca.pem"}}}},
    {"hosts": ["a.example"], "conda": {"base_image": "NOT A REFERENCE"}},
    {"hosts": ["a.example"], "store": {"limit": "much"}},
]


class Node:
    """A daemon and its file of settings."""

    def __init__(self, daemon: Daemon, file: Path, settings: dict[str, Any]) -> None:
        self.daemon = daemon
        self._file = file
        self._settings = settings
        self._session = aiohttp.ClientSession()
        self.done = {"success": 0, "refused": 0}

    def write(self, more: dict[str, Any]) -> None:
        """Rename a file over that of the settings, as editors do."""
        aside = self._file.with_suffix(".new")
        aside.write_text(yaml.safe_dump(self._settings | more))
        aside.replace(self._file)

    async def counted(self, outcome: str) -> None:
        """Return when one more reload has ended so, and none otherwise."""
        self.done[outcome] += 1
        limit = time.monotonic() + WAIT
        while (seen := await self.counts()) != self.done:
            assert time.monotonic() < limit, f"{seen}, not {self.done}\n{self.daemon.log()}"
            await asyncio.sleep(0.02)

    async def counts(self) -> dict[str, int]:
        async with self._session.get(f"{self.daemon.url}/metrics") as answer:
            text = await answer.text()
        found = re.findall(r'wavelet_config_reload_total\{outcome="(\w+)"\} ([\d.]+)', text)
        return {outcome: int(float(count)) for outcome, count in found}

    async def status_for(self, host: str) -> int:
        async with self._session.get(f"{self.daemon.url}/healthz", headers={"Host": host}) as answer:
            return answer.status

    async def limit(self) -> int:
        async with self._session.get(f"{self.daemon.url}/statusz") as answer:
            return int((await answer.json())["store"]["limit"])

    async def close(self) -> None:
        await self._session.close()


async def keep_asking(url: str, stop: asyncio.Event) -> tuple[int, int]:
    """Ask again and again over one connection; return how often, and how many connections it took."""
    times, connections = 0, 0

    async def count(*_: object) -> None:
        nonlocal connections
        connections += 1

    trace = aiohttp.TraceConfig()
    trace.on_connection_create_start.append(count)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1), trace_configs=[trace]) as session:
        while not stop.is_set():
            async with session.get(url) as answer:
                assert answer.status == 200, await answer.text()
                await answer.read()
            times += 1
            await asyncio.sleep(0.01)
    return times, connections


async def fetch(url: str) -> bytes:
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        assert answer.status == 200
        return await answer.read()


@pytest.mark.process
async def test_reload_under_load(tmp_path: Path) -> None:
    slow, large = os.urandom(2_000_000), os.urandom(24_000_000)
    async with AsyncExitStack() as stack:
        registry = await stack.enter_async_context(Registry())
        image = registry.add_image("lab/tool", "1", [slow, large])
        registry.fault(image["layers"][0].partition(":")[2], rate=300_000)
        settings: dict[str, Any] = {"upstream": {"registries": {registry.host: {"plain_http": True}}}}
        daemon = Daemon(tmp_path / "state", settings=settings)
        stack.push_async_callback(asyncio.to_thread, daemon.stop)
        await asyncio.to_thread(daemon.start)
        node = Node(daemon, tmp_path / "state.yaml", settings)
        stack.push_async_callback(node.close)
        images = f"{daemon.url}/v2/{registry.host.replace(':', '_')}/lab/tool"
        stop = asyncio.Event()
        asking = [asyncio.create_task(keep_asking(f"{images}/manifests/1", stop)) for _ in range(4)]
        await asyncio.sleep(0.3)
        fetching = asyncio.create_task(fetch(f"{images}/blobs/{image['layers'][0]}"))
        session = await stack.enter_async_context(aiohttp.ClientSession(read_bufsize=2**16))
        pull = await stack.enter_async_context(session.get(f"{images}/blobs/{image['layers'][1]}"))
        pulled = await pull.content.readexactly(1_000_000)
        for number in range(RELOADS // 4):
            node.write({"store": {"limit": f"{number + 1}GB"}, "hosts": [f"n{number}.example"], "log_format": "json"})
            await node.counted("success")
            assert await node.limit() == (number + 1) * 10**9
            os.kill(daemon.pid, signal.SIGHUP)
            await node.counted("success")
            node.write(REFUSED[number % len(REFUSED)])
            await node.counted("refused")
            os.kill(daemon.pid, signal.SIGHUP)
            await node.counted("refused")
            assert await node.limit() == (number + 1) * 10**9
            pulled += await pull.content.readexactly(500_000)
            assert (await node.status_for(f"n{number}.example"), await node.status_for("a.example")) == (200, 421)
        assert pulled + await pull.read() == large
        assert await fetching == slow
        stop.set()
        for times, connections in await asyncio.gather(*asking):
            assert connections == 1
            assert times > RELOADS
    log = daemon.log()
    assert "unknown key `hots`; did you mean `hosts`?" in log
    assert "authority needs a restart of wavelet" in log
    assert "/nowhere/ca.pem" in log
    assert '"event": "settings were read again"' in log


@pytest.fixture
def certificate(tmp_path: Path) -> Callable[[str], dict[str, str]]:
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl")

    def make(name: str) -> dict[str, str]:
        new_key, new = tmp_path / "new.key", tmp_path / "new.pem"
        subject = ["-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1"]
        command = ["openssl", "req", "-x509", "-days", "1", "-nodes", *subject]
        command += ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
        subprocess.run([*command, "-keyout", new_key, "-out", new], check=True, capture_output=True, timeout=30)
        key, pem = tmp_path / "tls.key", tmp_path / "tls.pem"
        new_key.replace(key)
        new.replace(pem)
        return {"certificate": str(pem), "key": str(key)}

    return make


@pytest.mark.process
async def test_a_renewed_certificate_is_shown_to_new_connections(
    tmp_path: Path, certificate: Callable[[str], dict[str, str]], free_port: int
) -> None:
    tls = certificate("first") | {"listen": f"127.0.0.1:{free_port}"}
    daemon = Daemon(tmp_path / "state", settings={"tls": tls})
    await asyncio.to_thread(daemon.start)
    node = Node(daemon, tmp_path / "state.yaml", {"tls": tls})
    try:
        context = ssl.create_default_context(cafile=tls["certificate"])
        async with aiohttp.ClientSession() as session:
            async with session.get(f"https://127.0.0.1:{free_port}/healthz", ssl=context) as answer:
                assert answer.status == 200
            certificate("second")
            await node.counted("success")
            # The old connection goes on; a new one shows what is there now.
            async with session.get(f"https://127.0.0.1:{free_port}/healthz", ssl=context) as answer:
                assert answer.status == 200
        for name in (None, "node.example"):
            assert await asyncio.to_thread(shown_certificate, free_port, tls["certificate"], name) == "second"
        Path(tls["certificate"]).write_text("no certificate")
        await node.counted("refused")
        assert "cannot be used" in daemon.log()
        certificate("third")
        await node.counted("success")
    finally:
        await node.close()
        await asyncio.to_thread(daemon.stop)


def shown_certificate(port: int, authority: str, name: str | None) -> str:
    """Return whose the certificate is that a server shows, where the client names the server or does not."""
    context = ssl.create_default_context(cafile=authority)
    context.check_hostname = False
    with (
        socket.create_connection(("127.0.0.1", port), 5) as plain,
        context.wrap_socket(plain, server_hostname=name) as secure,
    ):
        subject = secure.getpeercert() or {}
    return str(dict(each[0] for each in subject["subject"])["commonName"])  # type: ignore[misc]
