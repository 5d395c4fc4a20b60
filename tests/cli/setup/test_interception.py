"""Interception with real engines: plain names come through wavelet, and from the registry where it is not there."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import ssl
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from doubles.registry import Registry, small_layer
from lab.certificates import Authority
from lab.daemon import Daemon
from lab.engines import Containerd, Docker
from lab.intercepted import (
    Done,
    Intercepted,
    InterceptedContainerd,
    InterceptedDocker,
    InterceptedPodman,
    InterceptedSkopeo,
    containerd2_programs,
)

ENGINES = ("containerd", "containerd2", "docker", "podman", "skopeo")
RETRIES = {"docker", "containerd", "containerd2"}
"""Engines that go on at the registry when wavelet goes away in the middle of a layer; others do with the next pull."""

HUB = "registry-1.docker.io"
HUB_ADDRESS = f"127.77.{os.getpid() // 250 % 250}.{os.getpid() % 250 + 1}"
"""Each process of the tests has its own, at which it is docker.io for the Docker engines that it starts."""

ONE_ATTEMPT = {"max-download-attempts": 1}
"""Of Docker's five, between which it waits 5, 10, 15 and 20 seconds."""

BIG = random.Random(1).randbytes(4_000_000)
WAIT = 20.0

pytestmark = pytest.mark.timeout(120)


@contextlib.contextmanager
def engine_named(name: str, directory: Path, trusted: Path) -> Iterator[Intercepted]:
    """Give an engine with files of its own, running if it is one that runs."""
    match name:
        case "podman":
            yield InterceptedPodman(directory, trusted)
        case "skopeo":
            yield InterceptedSkopeo(directory, trusted)
        case "docker":
            hub = f"{HUB_ADDRESS} {HUB}\n"
            with Docker(directory, hub, ONE_ATTEMPT, SSL_CERT_FILE=trusted).running() as docker:
                yield InterceptedDocker(docker)
        case _:
            programs = containerd2_programs(directory) if name == "containerd2" else None
            with Containerd(directory, programs).running() as containerd:
                yield InterceptedContainerd(containerd)


@dataclass
class Node:
    """An engine, the registry that it pulls from by plain names, and how a daemon for it is made."""

    engine: Intercepted
    registry: Registry
    trusted: Path
    directory: Path
    host: str
    """The registry as in image names."""
    layer: str
    """The digest of the layer of `lab/big:1`."""

    def daemon(self) -> Daemon:
        """Return a daemon that knows the registry's certificate, not started."""
        tls = {} if self.engine.plain else {"ca_file": str(self.trusted)}
        upstream: dict[str, object] = {self.registry.host.removesuffix(":443"): tls}
        if self.host == "docker.io":
            upstream["docker.io"] = {"mirrors": [self.registry.url]}
        return Daemon(self.directory / "state", settings={"upstream": {"registries": upstream}})

    async def setup(self, authority: str) -> Done:
        """Run `wavelet setup` for the engine and the registry."""
        return await asyncio.to_thread(self.engine.setup, "--registry", self.host, "--authority", authority)

    async def pulled(self, image: str) -> int:
        """Pull an image by its plain name, forget it if that succeeds, and return the exit code."""
        name = image if self.host == "docker.io" else f"{self.host}/{image}"
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
    """Return each engine in turn, with a registry whose certificate it trusts; for Docker, that is docker.io."""
    authority = Authority(tmp_path, "authority")
    issued = authority.issue("registry", HUB, HUB_ADDRESS)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(issued.certificate, issued.key)
    # What engines start has sockets below their directory, whose paths have 104 bytes at the most.
    with (
        tempfile.TemporaryDirectory(prefix="engine-") as short,
        engine_named(request.param, Path(short) / request.param, authority.certificate) as engine,
    ):
        is_docker = request.param == "docker"
        registry = Registry(host=HUB_ADDRESS if is_docker else "127.0.0.1", tls=None if engine.plain else tls)
        await registry.start(443 if is_docker else 0)
        try:
            registry.add_image("lab/tool", "1")
            (layer,) = registry.add_image("lab/big", "1", [small_layer({"big": BIG})])["layers"]
            host = "docker.io" if is_docker else registry.host
            yield Node(engine, registry, authority.certificate, tmp_path, host, layer)
        finally:
            await registry.stop()


async def test_plain_names_come_through_wavelet_and_from_the_registry_without_it(
    node: Node, request: pytest.FixtureRequest
) -> None:
    daemon = node.daemon()
    with contextlib.ExitStack() as stack:
        daemon.start()
        stack.callback(daemon.stop)
        done = await node.setup(daemon.authority)
        assert done.returncode == 0, done.stderr
        assert f"gets its images from wavelet at {daemon.authority}" in done.stderr
        assert node.asked_by() == set(), "what it is verified by is built in"

        assert await node.pulled("lab/tool:1") == 0
        assert node.asked_by() == {True}

        # It goes away in the middle of a layer.
        fault = node.registry.fault(f"/lab/big/blobs/{node.layer}", stall=1_000_000, times=1)
        pulling = asyncio.create_task(node.pulled("lab/big:1"))
        async with asyncio.timeout(WAIT):
            while not fault.hits:
                await asyncio.sleep(0.02)
        daemon.kill()
        node.registry.clear_faults()
        code = await pulling
        # podman tries again where the connection was reset, and not where it has ended.
        assert code == 0 or request.node.callspec.params["node"] not in RETRIES
        assert node.asked_by() == ({True, False} if code == 0 else {True})

        # It was away from the beginning.
        assert await node.pulled("lab/big:1") == 0
        assert node.asked_by() == {False}
    assert (await asyncio.to_thread(node.engine.setup, "--undo")).returncode == 0


async def test_a_manifest_that_is_refused_is_asked_of_the_registry(node: Node) -> None:
    async with Registry() as mirror:
        await node.setup(mirror.host)
        for status in (401, 403, 404, 503):
            mirror.clear_faults()
            mirror.fault("/manifests/", status=status, body=b'{"errors":[{"code":"DENIED","message":"Not here."}]}')
            assert await node.pulled("lab/tool:1") == 0
            assert any("/manifests/" in each.path for each in mirror.requests)
            assert node.asked_by() == {False}
            mirror.requests.clear()
