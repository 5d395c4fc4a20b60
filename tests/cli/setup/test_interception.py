"""Interception with real engines: plain names come through wavelet, and from the registry where it is not there."""

from __future__ import annotations

import asyncio
import contextlib
import random
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from doubles.registry import Registry, small_layer
from lab.certificates import Authority
from lab.daemon import Daemon
from lab.intercepted import Intercepted, InterceptedPodman, InterceptedSkopeo

ENGINES: dict[str, Callable[[Path, Path], Intercepted]] = {"podman": InterceptedPodman, "skopeo": InterceptedSkopeo}
RETRIES = {"podman"}
"""Engines that try again by themselves when what they pull from goes away; the others do it with the next command."""

BIG = random.Random(1).randbytes(4_000_000)
WAIT = 20.0

pytestmark = pytest.mark.timeout(120)


@dataclass
class Node:
    """An engine, the registry that it pulls from by plain names, and how a daemon for it is made."""

    engine: Intercepted
    registry: Registry
    trusted: Path
    directory: Path

    def daemon(self) -> Daemon:
        """Return a daemon that knows the registry's certificate, not started."""
        settings = {"upstream": {"registries": {self.registry.host: {"ca_file": str(self.trusted)}}}}
        return Daemon(self.directory / "state", settings=settings)

    async def pulled(self, image: str) -> int:
        """Pull an image by its plain name, forget it if that succeeds, and return the exit code."""
        name = f"{self.registry.host}/{image}"
        done = await asyncio.to_thread(self.engine.pull, name)
        if done.returncode == 0:
            await asyncio.to_thread(self.engine.forget, name)
        return done.returncode

    def asked_by(self) -> set[bool]:
        """Say of all that asked the registry since the last time whether it was wavelet; empty: nobody did."""
        seen = {each.headers["User-Agent"].startswith("wavelet/") for each in self.registry.requests}
        self.registry.requests.clear()
        return seen


@pytest.fixture(params=[pytest.param(name, marks=getattr(pytest.mark, name)) for name in ENGINES])
async def node(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Node]:
    """Return each engine in turn, with a registry of https whose certificate it trusts."""
    authority = Authority(tmp_path, "authority")
    issued = authority.issue("registry")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(issued.certificate, issued.key)
    async with Registry(tls=tls) as registry:
        registry.add_image("lab/tool", "1")
        registry.add_image("lab/big", "1", [small_layer({"big": BIG})])
        engine = ENGINES[request.param](tmp_path / request.param, authority.certificate)
        yield Node(engine, registry, authority.certificate, tmp_path)


async def test_plain_names_come_through_wavelet_and_from_the_registry_without_it(
    node: Node, request: pytest.FixtureRequest
) -> None:
    daemon = node.daemon()
    ours = ("--registry", node.registry.host, "--authority", daemon.authority)
    with contextlib.ExitStack() as stack:
        daemon.start()
        stack.callback(daemon.stop)
        done = await asyncio.to_thread(node.engine.setup, *ours)
        assert done.returncode == 0, done.stderr
        assert f"gets its images from wavelet at {daemon.authority}" in done.stderr
        assert node.asked_by() == set(), "what it is verified by is built in"

        assert await node.pulled("lab/tool:1") == 0
        assert node.asked_by() == {True}

        # It goes away in the middle of a layer.
        fault = node.registry.fault("/lab/big/blobs/", stall=1_000_000, times=2)
        pulling = asyncio.create_task(node.pulled("lab/big:1"))
        async with asyncio.timeout(WAIT):
            while not fault.hits:
                await asyncio.sleep(0.02)
        daemon.kill()
        node.registry.clear_faults()
        code = await pulling
        is_retried = any(name in request.node.name for name in RETRIES)
        assert (code == 0) is is_retried
        assert node.asked_by() == ({True, False} if is_retried else {True})

        # It was away from the beginning.
        assert await node.pulled("lab/big:1") == 0
        assert node.asked_by() == {False}

        dead = await asyncio.to_thread(node.engine.setup, *ours)
        assert dead.returncode == 0, dead.stderr
        assert f"nothing was verified: no daemon answers at {daemon.authority}; when it does, try: " in dead.stderr
    assert (await asyncio.to_thread(node.engine.setup, "--undo")).returncode == 0


@pytest.mark.parametrize("status", [401, 403, 404, 503])
async def test_a_manifest_that_is_refused_is_asked_of_the_registry(node: Node, status: int) -> None:
    async with Registry() as mirror:
        mirror.fault("/manifests/", status=status, body=b'{"errors":[{"code":"DENIED","message":"Not here."}]}')
        await asyncio.to_thread(node.engine.setup, "--registry", node.registry.host, "--authority", mirror.host)
        assert await node.pulled("lab/tool:1") == 0
        assert any("/manifests/" in each.path for each in mirror.requests)
        assert node.asked_by() == {False}
