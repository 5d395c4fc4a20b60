"""Black box: bad input gets one clear 4xx, and the daemon serves on."""

from __future__ import annotations

import asyncio
import base64
import gzip
import hashlib
import io
import json
import re
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import pytest
from pulls import Client, near, noise, sha256

from doubles.registry import Registry, small_layer
from lab.daemon import Daemon

DIGEST = "sha256:" + "0" * 64
SUBMIT = "/v1alpha2/container"


def image(registry: Registry) -> str:
    return f"{registry.host}/lab/tool:1"


@pytest.fixture
async def serving(registry: Registry, client: Client) -> AsyncIterator[Client]:
    """Return a client, and check afterwards that the daemon serves as before."""
    registry.add_image("lab/tool", "1")
    yield client
    await client.pull(near(registry, "lab/tool"), "1")
    got = await client.ask("POST", SUBMIT, json={"containerImage": image(registry)})
    assert (got.status, got.json()["succeeded"]) == (200, True)


def layer_of(blob: bytes, tar: bytes, **changes: Any) -> dict[str, Any]:
    return {
        "location": "data:" + base64.b64encode(blob).decode(),
        "gzipDigest": sha256(blob),
        "gzipSize": len(blob),
        "tarDigest": sha256(tar),
    } | changes


LAYER = small_layer({"hello": b"world"})
TAR = gzip.decompress(LAYER)

NOT_A_REQUEST = [
    b"",
    b"{",
    b"not json",
    b"\xff\xfe\x00",
    b"null",
    b"[]",
    b'"text"',
    b"{}",
    b"[" * 100_000,
    b'{"containerImage": "a", "containerImage": ' + b'{"x":' * 5000,
]


@pytest.mark.parametrize("body", NOT_A_REQUEST, ids=range(len(NOT_A_REQUEST)))
@pytest.mark.parametrize("path", [SUBMIT, "/container-token", "/v1alpha1/inspect", "/v1alpha2/validate-creds"])
async def test_bodies_that_are_no_request(client: Client, path: str, body: bytes) -> None:
    got = await client.ask("POST", path, data=body)
    assert got.status == 400, got.body
    assert got.message


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"containerImage": 5}, "containerImage"),
        ({"containerImage": ["a"]}, "containerImage"),
        ({"containerImage": "docker://a"}, "scheme"),
        ({"containerImage": "https://quay.io/a"}, "scheme"),
        ({"containerImage": "../../etc/passwd"}, "containerImage"),
        ({"containerImage": "a\u0000b"}, "containerImage"),
        ({"containerImage": "a" * 10_000}, "containerImage"),
        ({"containerImage": "a", "containerPlatform": "windows/amd64"}, "containerPlatform"),
        ({"containerImage": "a", "containerPlatform": "linux/amd64,,"}, "containerPlatform"),
        ({"containerImage": "a", "containerConfig": {"env": "A=1"}}, "env"),
        ({"containerImage": "a", "containerConfig": {"env": ["=1"]}}, "env"),
        ({"containerImage": "a", "containerConfig": {"env": ["A\u0000=1"]}}, "env"),
        ({"containerImage": "a", "containerConfig": []}, "containerConfig"),
        ({"containerImage": "a", "containerConfig": {"layers": {}}}, "layers"),
        ({"containerImage": "a", "containerConfig": {"layers": [{"location": "data:x"}]}}, "layers"),
        ({"containerImage": "a", "containerIncludes": ["a"] * 11}, "containerIncludes"),
        ({"containerImage": "a", "containerIncludes": ["http://x"]}, "containerIncludes"),
        ({"containerImage": "a", "containerFile": "RlJPTSBh"}, "containerFile"),
    ],
    ids=str,
)
async def test_members_that_are_wrong_are_named(client: Client, body: dict[str, Any], says: str) -> None:
    got = await client.ask("POST", SUBMIT, json=body)
    assert got.status == 400, got.body
    assert says in got.message
    assert len(got.message) < 1000


@pytest.mark.parametrize(
    "changes",
    [
        {"gzipDigest": DIGEST},
        {"gzipDigest": "sha256:short"},
        {"gzipSize": 1},
        {"gzipSize": -1},
        {"gzipSize": 2**70},
        {"tarDigest": DIGEST},
        {"tarDigest": None},
        {"location": "data:!!!"},
        {"location": "file:///etc/passwd"},
        {"location": "ftp://127.0.0.1/x"},
        {"location": "http://169.254.169.254/latest/meta-data"},
        {"location": "http://[fd00:ec2::254]/"},
        {"location": ""},
    ],
    ids=str,
)
async def test_layers_that_are_not_what_is_said(registry: Registry, serving: Client, changes: dict[str, Any]) -> None:
    body = {"containerImage": image(registry), "containerConfig": {"layers": [layer_of(LAYER, TAR, **changes)]}}
    got = await serving.ask("POST", SUBMIT, json=body)
    assert got.status == 400, got.body
    assert "layers" in got.message


@pytest.mark.parametrize("changes", [{"gzipDigest": DIGEST}, {"gzipSize": 1}, {"tarDigest": DIGEST}], ids=str)
async def test_layers_by_url_that_are_not_what_is_said(
    registry: Registry, serving: Client, changes: dict[str, Any]
) -> None:
    url = f"{registry.url}/v2/lab/tool/blobs/{registry.add_blob('lab/tool', LAYER)}"
    body = {
        "containerImage": image(registry),
        "containerConfig": {"layers": [layer_of(LAYER, TAR, location=url, **changes)]},
    }
    got = await serving.ask("POST", SUBMIT, json=body)
    assert got.status == 400, got.body
    assert "containerConfig.layers" in got.message


async def test_a_zip_bomb_is_stopped(
    registry: Registry, session: aiohttp.ClientSession, start_daemon: Callable[..., Daemon]
) -> None:
    daemon = start_daemon(WAVELET_UPSTREAM_INFLATED_LIMIT="20MB", WAVELET_UPSTREAM_LAYER_LIMIT="1MB")
    client = Client(session, daemon.url)
    registry.add_image("lab/tool", "1")
    bomb = gzip.compress(bytes(300_000_000), mtime=0)
    large = noise(1_200_000)
    blobs = {"bomb": bomb, "large": large}
    for kind, blob in blobs.items():
        digest = registry.add_blob("lab/tool", blob)
        for location in (None, f"{registry.url}/v2/lab/tool/blobs/{digest}"):
            tar = bytes(300_000_000) if kind == "bomb" else blob
            layer = layer_of(blob, tar, **({} if location is None else {"location": location, "gzipSize": None}))
            if kind == "large" and location is None:
                continue
            body = {"containerImage": image(registry), "containerConfig": {"layers": [layer]}}
            got = await client.ask("POST", SUBMIT, json=body)
            assert got.status == 413, (kind, location, got.body)
            assert "limit" in got.message
    peak = re.search(r"VmHWM:\s+(\d+) kB", (await asyncio.to_thread(_status, daemon)))
    assert peak is not None
    assert int(peak[1]) < 250_000
    await client.pull(near(registry, "lab/tool"), "1")


def _status(daemon: Daemon) -> str:
    with open(f"/proc/{daemon.pid}/status") as file:  # noqa: PTH123
        return file.read()


async def test_a_body_of_100_mb_is_refused_at_once(node: Daemon, serving: Client) -> None:
    body = b'{"containerImage": "' + b"a" * 100_000_000 + b'"}'
    got = await serving.ask("POST", SUBMIT, data=io.BytesIO(body))
    assert got.status == 413, got.body
    assert "bytes" in got.message

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield bytes(1_000_000)

    try:
        async with serving.session.post(node.url + SUBMIT, data=pieces()) as response:
            assert response.status == 413
    except (aiohttp.ClientError, ConnectionError):
        pass  # cut off in mid-body


PATHS = [
    "/v2/../../etc/passwd",
    "/v2/%2e%2e/%2e%2e/etc/passwd/manifests/1",
    "/v2/a/../b/manifests/1",
    "/v2/a/manifests/..",
    "/v2/a/manifests/%2e%2e%2f%2e%2e",
    "/v2/a/manifests/-x",
    "/v2/a/manifests/" + "x" * 200,
    "/v2/A/manifests/1",
    "/v2/a%00b/manifests/1",
    "/v2/a//b/manifests/1",
    "/v2/a%2f%2fb/manifests/1",
    "/v2/" + "a/" * 200 + "manifests/1",
    "/v2/" + "a" * 5000 + "/manifests/1",
    "/v2/a/blobs/sha256:short",
    "/v2/a/blobs/../../x",
    f"/v2/a/blobs/{DIGEST}x",
    "/v2/a/blobs/md5:" + "0" * 32,
    f"/v2/a/manifests/sha256:{'A' * 64}",
    "/v2/a/tags/other",
    "/v2/a/tags/list?n=-1",
    "/v2/a/tags/list?n=x",
    "/v2/_catalog",
    "/v2/a",
    "/v2/wt/x/a/manifests/1",
    f"/v2/wt/{'0' * 32}/a/manifests/1",
    f"/v2/wt/{'0' * 32}/../a/manifests/1",
    "/v2/a/manifests/1?ns=../../x",
    "/v2/a/manifests/1?ns=http://evil",
    "/v2/evil.example@quay.io/a/manifests/1",
    "/container-token/../x",
    f"/v1alpha2/container/{'0' * 32}",
    "/v1alpha2/container/x/status",
    "/v1alpha1/builds/../..",
]


@pytest.mark.parametrize("path", PATHS, ids=range(len(PATHS)))
async def test_paths_that_lead_nowhere(node: Daemon, path: str) -> None:
    """Sent as they are: a client library would tidy them up."""
    host, _, port = node.authority.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"GET {path} HTTP/1.1\r\nHost: {node.authority}\r\nConnection: close\r\n\r\n".encode())
    async with asyncio.timeout(10):
        answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    head, _, body = answer.partition(b"\r\n\r\n")
    status = int(head.split()[1])
    assert 400 <= status < 500, answer
    if path.startswith(("/v2/", "/v1alpha2/")):
        document = json.loads(body)
        assert document.get("message") or document["errors"][0]["message"]


async def test_ranges(registry: Registry, serving: Client) -> None:
    data = noise(1000)
    digest = registry.add_image("lab/range", "1", [data])["layers"][0]
    name = near(registry, "lab/range")
    await serving.pull(name, "1")
    for header in ("bytes=1000-", "bytes=99999-", "bytes=-0"):
        got = await serving.blob(name, digest, Range=header)
        assert (got.status, got.headers["Content-Range"]) == (416, "bytes */1000")
        assert "1000 bytes" in got.message
    for header, start, end in (("bytes=0-0", 0, 1), ("bytes=990-2000", 990, 1000), ("bytes=-10", 990, 1000)):
        got = await serving.blob(name, digest, Range=header)
        assert (got.status, got.body) == (206, data[start:end])
        assert got.headers["Content-Range"] == f"bytes {start}-{end - 1}/1000"
    for header in ("bytes=5-1", "bytes=0-1,3-4", "lines=0-1", "bytes=x"):
        got = await serving.blob(name, digest, Range=header)
        assert (got.status, hashlib.sha256(got.body).hexdigest()) == (200, digest.removeprefix("sha256:"))


@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE", "PATCH", "OPTIONS"])
async def test_what_writes_is_refused(serving: Client, registry: Registry, method: str) -> None:
    got = await serving.ask(method, f"/v2/{near(registry, 'lab/tool')}/manifests/1", data=b"{}")
    assert got.status == 405
    assert got.message


async def test_no_log_of_a_defect(node: Daemon) -> None:
    assert "Traceback" not in node.log()
