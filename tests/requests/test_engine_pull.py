"""Images on into an engine, by the Docker API: how far they are, what they are, and the engine's own words."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from wavelet.errors import EngineFailed, InvalidRequest, NotServed
from wavelet.image.reference import Digest
from wavelet.requests.engine_address import Engine as Kind
from wavelet.requests.engine_address import chosen_address
from wavelet.requests.engine_pull import address_of, into_engine
from wavelet.requests.transfer_tasks import TransferStatus

DIGEST = Digest.of(b"a manifest")


class Engine:
    """Speaks as much of the Docker API as a pull takes; what it says of an image is the test's to set."""

    def __init__(self, directory: Path) -> None:
        self.socket = directory / "engine.sock"
        self.port = 0
        self.says: dict[str, list[dict[str, Any]]] = {}
        self.asked: list[tuple[str, str]] = []
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.left = asyncio.Event()

    async def version(self, _: web.Request) -> web.Response:
        return web.json_response({"ApiVersion": "1.41", "Version": "25"})

    async def create(self, request: web.Request) -> web.StreamResponse:
        name = f"{request.query['fromImage']}:{request.query['tag']}"
        self.asked.append((name, request.query.get("platform", "")))
        return await self._say(request, name)

    async def podman(self, request: web.Request) -> web.StreamResponse:
        query = request.query
        self.asked.append((query["reference"], f"{query.get('OS')}/{query.get('Arch')} {query.get('tlsVerify')}"))
        return await self._say(request, query["reference"])

    async def _say(self, request: web.Request, name: str) -> web.StreamResponse:
        if name not in self.says:
            return web.json_response({"message": f"manifest for {name} not found"}, status=404)
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        try:
            for event in self.says[name]:
                await response.write(json.dumps(event).encode() + b"\r\n")
            while not self.go_on.is_set():
                await asyncio.sleep(0.05)
                await response.write(b'{"status":"Waiting"}\r\n')
        except ConnectionError:
            self.left.set()
        return response

    async def inspect(self, request: web.Request) -> web.Response:
        return web.json_response({"RepoDigests": [f"{request.match_info['name']}@{DIGEST}"]})


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    made = Engine(tmp_path)
    app = web.Application()
    app.router.add_get("/version", made.version)
    app.router.add_post("/v1.41/images/create", made.create)
    app.router.add_post("/v4.0.0/libpod/images/pull", made.podman)
    app.router.add_get("/v1.41/images/{name:.+}/json", made.inspect)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.UnixSite(runner, str(made.socket)).start()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.port = next(int(each[1]) for each in runner.addresses if isinstance(each, tuple))
    yield made
    made.go_on.set()
    await runner.cleanup()


async def pulled(
    engine: Engine, *names: str, kind: Kind = "docker", address: str = "", **more: Any
) -> dict[int, list[TransferStatus]]:
    told: dict[int, list[TransferStatus]] = defaultdict(list)
    async with aclosing(
        into_engine(names, kind, address or f"unix://{engine.socket}", concurrency=2, **more)
    ) as taking:
        async for each in taking:
            told[each.index].append(each)
    return told


def part(name: str, status: str, current: int = 0, total: int = 0) -> dict[str, Any]:
    return {"id": name, "status": status, "progressDetail": {"current": current, "total": total} if total else {}}


async def test_progress_digest_and_errors(engine: Engine) -> None:
    engine.says = {
        "127.0.0.1:9090/lab/tool:1": [
            {"status": "Pulling from lab/tool", "id": "1"},
            part("a", "Already exists"),
            part("b", "Downloading", 300, 1000),
            part("c", "Downloading", 10, 50),
            part("b", "Download complete"),
            part("b", "Extracting", 1, 2),
            part("c", "Pull complete"),
            {"status": f"Digest: {DIGEST}"},
            {"status": "Status: Downloaded newer image"},
        ],
        "127.0.0.1:9090/lab/there:1": [part("d", "Pulling fs layer"), part("d", "Download complete")],
        "127.0.0.1:9090/lab/full:1": [{"errorDetail": {}, "error": "write /layer: no space left on device"}],
    }
    names = [*engine.says, "127.0.0.1:9090/lab/absent:2"]
    told = await pulled(engine, *names, platform="linux/arm64")
    assert all(each[0] == TransferStatus(index) for index, each in told.items())
    assert told[0][-1] == TransferStatus(0, 1050, 1050, DIGEST, done=True)
    assert told[1][-1] == TransferStatus(1, 0, 0, DIGEST, done=True)
    for index, words in ((2, "no space left on device"), (3, "manifest for .*absent:2 not found")):
        with pytest.raises(EngineFailed, match=f"docker does not pull .*: {words}"):
            raise told[index][-1].error or AssertionError
    assert set(engine.asked) == {(name, "linux/arm64") for name in names}


async def test_podman_pulls_by_its_own_api(engine: Engine) -> None:
    local, far = "127.0.0.1:9090/lab/tool:1", "node.test:9090/lab/broken:1"
    engine.says = {
        local: [{"stream": "Copying blob"}, {"images": ["0123"], "id": "0123"}],
        far: [{"error": "manifest unknown"}],
    }
    told = await pulled(engine, local, far, "localhost:9090/lab/absent:1", kind="podman", platform="linux/arm64")
    assert told[0][-1] == TransferStatus(0, 0, 0, DIGEST, done=True)
    for index, words in ((1, "manifest unknown"), (2, "manifest for .*absent:1 not found")):
        with pytest.raises(EngineFailed, match=f"podman does not pull .*: {words}"):
            raise told[index][-1].error or AssertionError
    without_tls = "linux/arm64 false"
    assert sorted(asked for _, asked in engine.asked) == ["linux/arm64 None", without_tls, without_tls]


@pytest.mark.parametrize("kind", ["docker", "podman"])
async def test_an_engine_at_a_port_of_this_machine(engine: Engine, kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fault D13: `DOCKER_HOST=tcp://127.0.0.1:2375`; a proxy of the environment is not asked."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    name = "127.0.0.1:9090/lab/tool:1"
    engine.says = {name: [{"status": f"Digest: {DIGEST}"}]}
    told = await pulled(engine, name, kind=kind, address=f"tcp://127.0.0.1:{engine.port}")
    assert told[0][-1] == TransferStatus(0, 0, 0, DIGEST, done=True)


@pytest.mark.parametrize("kind", ["docker", "podman"])
async def test_who_leaves_ends_the_pull(engine: Engine, kind: Kind) -> None:
    engine.says["lab/slow:1"] = [part("a", "Downloading", 1, 1000)]
    engine.go_on.clear()
    async with aclosing(into_engine(["lab/slow:1"], kind, f"unix://{engine.socket}", concurrency=1)) as taking:
        async for each in taking:
            if each.done_bytes:
                break
    async with asyncio.timeout(5):
        await engine.left.wait()


def test_the_users_own_choice_of_an_engine() -> None:
    """Fault D13: `DOCKER_HOST` and `CONTAINER_HOST`, as docker and podman take them."""
    set_up = {"DOCKER_HOST": "unix:///d.sock", "DOCKER_CONTEXT": "other", "CONTAINER_HOST": "unix:///p.sock"}
    assert (chosen_address("docker", set_up), chosen_address("podman", set_up)) == ("unix:///d.sock", "unix:///p.sock")
    unset = {"DOCKER_HOST": "", "HOME": "/nonexistent"}
    assert (chosen_address("docker", unset), chosen_address("podman", unset)) == ("", "")
    assert chosen_address("docker", {"DOCKER_HOST": "unix://"}) == ""
    for address in ("tcp://127.0.0.1:2375", "tcp://localhost:2375", "tcp://[::1]:2375"):
        assert chosen_address("docker", {"DOCKER_HOST": address}) == address
        with pytest.raises(InvalidRequest, match="DOCKER_TLS_VERIFY wants TLS"):
            chosen_address("docker", {"DOCKER_HOST": address, "DOCKER_TLS_VERIFY": "1"})
    for address in ("tcp://192.0.2.1:2375", "tcp://127.0.0.1", "ssh://me@far", "far:2375", "unix://relative.sock"):
        with pytest.raises(InvalidRequest, match=r"DOCKER_HOST is .*--engine-socket"):
            chosen_address("docker", {"DOCKER_HOST": address})


@pytest.mark.docker
def test_contexts_of_docker(tmp_path: Path) -> None:
    """Fault D13: those that the docker command has made, by its own rules of which counts."""
    environment = {"DOCKER_CONFIG": str(tmp_path), "PATH": os.environ["PATH"]}

    def docker(*arguments: str) -> None:
        subprocess.run(["docker", "context", *arguments], env=environment, check=True, capture_output=True, timeout=20)

    docker("create", "mine", "--docker", "host=unix:///mine.sock")
    docker("create", "far", "--docker", "host=tcp://far.example:2376")
    assert chosen_address("docker", environment) == ""
    docker("use", "mine")
    assert chosen_address("docker", environment) == "unix:///mine.sock"
    assert chosen_address("docker", environment | {"DOCKER_CONTEXT": "default"}) == ""
    assert chosen_address("docker", environment | {"DOCKER_HOST": "unix:///d.sock"}) == "unix:///d.sock"
    for name, words in (("far", "is tcp://"), ("absent", "is not there")):
        with pytest.raises(InvalidRequest, match=f"context '{name}' {words}"):
            chosen_address("docker", environment | {"DOCKER_CONTEXT": name})
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(InvalidRequest, match="it is not JSON"):
        chosen_address("docker", environment)


async def test_an_engine_that_is_not_there(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for address in (f"unix://{engine.socket}", str(engine.socket)):
        assert address_of("docker", address) == f"unix://{engine.socket}"
    with pytest.raises(InvalidRequest, match="engineAddress"):
        address_of("docker", "tcp://192.0.2.1:2375")
    with pytest.raises(NotServed, match=r"no podman here: no socket at .*/absent"):
        address_of("podman", str(tmp_path / "absent"))
    (tmp_path / "podman").mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    (tmp_path / "podman" / "podman.sock").symlink_to(engine.socket)
    assert address_of("podman") == f"unix://{tmp_path}/podman/podman.sock"
    monkeypatch.setenv("DOCKER_HOST", f"unix://{engine.socket}")
    assert address_of("docker") == f"unix://{engine.socket}"
    dead = tmp_path / "dead.sock"
    async with aclosing(into_engine(["lab/x:1"], "docker", f"unix://{dead}", concurrency=1)) as taking:
        last = [each async for each in taking][-1]
    assert isinstance(last.error, EngineFailed)
