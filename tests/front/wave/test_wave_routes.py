"""The door's routes: answers' shapes, faults, bounds."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import re
from typing import Any

import pytest

from wavelet.errors import AccessRefused, ImageNotFound, NoSpace, UpstreamUnreachable
from wavelet.image.image import OCI_MANIFEST, Descriptor
from wavelet.image.reference import Digest, Platform, Reference
from wavelet.plan.tokens import Principal
from wavelet.requests.documents import Documents
from wavelet.requests.progress import Failed, Pending, Ready

IMAGE = {"containerImage": "busybox:1.36"}
UNKNOWN = "0" * 32
CREATED = "2026-01-02T03:04:05.250Z"


async def token_of_post(door: Any, body: dict[str, Any] = IMAGE) -> str:
    return str((await door.post(body))["requestId"])


async def test_the_answer_to_a_container_request(door: Any) -> None:
    answer = await door.post(IMAGE)
    token = answer["requestId"]
    assert answer == {
        "requestId": token,
        "containerToken": token,
        "targetImage": f"127.0.0.1:9090/wt/{token}/library/busybox:1.36",
        "expiration": "2026-01-03T03:04:05.250Z",
        "containerImage": "docker.io/library/busybox:1.36",
        "freeze": False,
        "mirror": False,
        "succeeded": True,
    }


@pytest.mark.parametrize("state", [Pending(), Failed(UpstreamUnreachable("quay.io does not answer"))])
async def test_what_is_undecided_has_no_succeeded(door: Any, state: Any) -> None:
    door.requests.state = state
    assert "succeeded" not in await door.post(IMAGE)


async def test_a_dry_run_is_answered_as_done(door: Any) -> None:
    door.requests.state = Pending()
    assert (await door.post({**IMAGE, "dryRun": True}))["succeeded"] is True
    assert door.requests.dry_run


async def test_the_answer_to_a_container_token_request(door: Any) -> None:
    answer = await door.post(IMAGE, "/container-token")
    assert set(answer) == {"requestId", "containerToken", "targetImage", "expiration", "containerImage"}


async def test_a_pending_request_says_what_it_waits_for(door: Any) -> None:
    door.requests.state = Pending(UpstreamUnreachable("quay.io does not answer"))
    token = await token_of_post(door)
    status = await door.get(f"/v1alpha2/container/{token}/status")
    assert (status["status"], status["reason"]) == ("PENDING", "quay.io does not answer")
    assert "succeeded" not in status


async def test_the_status_of_a_pending_request(door: Any) -> None:
    door.requests.state = Pending()
    token = await token_of_post(door)
    assert await door.get(f"/v1alpha2/container/{token}/status", Host="wave.example:80") == {
        "id": token,
        "status": "PENDING",
        "creationTime": CREATED,
        "detailsUri": f"http://wave.example:80/view/containers/{token}",
    }
    build = await door.get(f"/v1alpha1/builds/bd-{token}_3/status")
    assert build == {"id": f"bd-{token}_3", "status": "PENDING", "startTime": CREATED}


async def test_the_status_of_a_request_that_is_done(door: Any) -> None:
    token = await token_of_post(door)
    door.requests.seconds = 0.00001
    async with door.client.get(f"/v1alpha2/container/{token}/status") as response:
        text = await response.text()
    assert '"duration":0.000' in text
    status = json.loads(text)
    assert (status["status"], status["succeeded"], "reason" in status) == ("DONE", True, False)
    build = await door.get(f"/v1alpha1/builds/bd-{token}_1/status")
    assert build["status"] == "COMPLETED"
    assert build["succeeded"] is True


async def test_the_status_of_a_failed_request(door: Any) -> None:
    token = await token_of_post(door)
    door.requests.state = Failed(ImageNotFound("docker.io has no image busybox:1.36; check its name and tag"))
    door.requests.seconds = 12.0
    async with door.client.get(f"/v1alpha2/container/{token}/status") as response:
        text = await response.text()
    assert '"duration":12.000' in text
    status = json.loads(text)
    assert (status["status"], status["succeeded"]) == ("DONE", False)
    assert status["reason"] == "docker.io has no image busybox:1.36; check its name and tag"
    build = await door.get(f"/v1alpha1/builds/bd-{token}_1")
    assert (build["exitStatus"], build["format"], build["platform"]) == (1, "DOCKER", "linux/amd64")
    async with door.client.get(f"/view/builds/bd-{token}_1") as response:
        page = await response.text()
    assert response.content_type == "text/plain"
    assert "failed" in page
    assert "check its name and tag" in page


async def test_the_record_of_a_request(door: Any) -> None:
    body: dict[str, Any] = {
        **IMAGE,
        "timestamp": "2026-01-02T03:04+01:00",
        "fingerprint": "f" * 32,
        "containerPlatform": "arm64",
        "containerConfig": {
            "env": ["A=1"],
            "entrypoint": [],
            "layers": [
                {
                    "location": "https://example.org/l.tar.gz",
                    "gzipDigest": f"sha256:{'1' * 64}",
                    "gzipSize": 0,
                    "tarDigest": f"sha256:{'2' * 64}",
                }
            ],
        },
    }
    token = await token_of_post(door, body)
    door.requests.know(token, source_digest=Digest.of(b"source"), made_digest=Digest.of(b"made"))
    record = await door.get(f"/v1alpha2/container/{token}")
    image, target = "docker.io/library/busybox:1.36", f"127.0.0.1:9090/wt/{token}/library/busybox:1.36"
    assert record == {
        "id": token,
        "containerImage": image,
        "sourceImage": image,
        "waveImage": target,
        "expiration": "2026-01-03T03:04:05.250Z",
        "freeze": False,
        "mirror": False,
        "containerConfig": {"env": ["A=1"], "layers": body["containerConfig"]["layers"]},
        "platform": "linux/arm64",
        "fingerprint": "f" * 32,
        "timestamp": "2026-01-02T03:04+01:00",
        "ipAddress": "127.0.0.1",
        "sourceDigest": Digest.of(b"source"),
        "waveDigest": Digest.of(b"made"),
    }
    described = await door.get(f"/container-token/{token}")
    assert described["source"] == {"image": image, "digest": Digest.of(b"source")}
    assert described["wave"] == {"image": target, "digest": Digest.of(b"made")}
    assert described["request"] == {
        name: record[name]
        for name in ("containerImage", "containerConfig", "platform", "fingerprint", "timestamp", "ipAddress")
    }


async def test_a_record_of_another_node_tells_nothing_of_the_caller(door: Any) -> None:
    token = await token_of_post(door)
    door.requests.know(token, about=None)
    record = await door.get(f"/v1alpha2/container/{token}")
    assert record["containerImage"] == "docker.io/library/busybox:1.36"
    assert not {"ipAddress", "timestamp", "fingerprint"} & set(record)


@pytest.mark.parametrize(
    "path",
    [
        "/v1alpha2/container/{}",
        "/v1alpha2/container/{}/status",
        "/container-token/{}",
        "/v1alpha1/builds/{}",
        "/v1alpha1/builds/{}/status",
        "/v1alpha1/builds/bd-{}_1",
        "/v1alpha1/builds/bd-{}_1/logs",
        "/v1alpha1/builds/bd-{}_1/condalock",
        "/view/containers/{}",
    ],
)
@pytest.mark.parametrize("token", [UNKNOWN, "x", "..%2f..%2fetc", "%00%ff", "0" * 5000])
async def test_what_is_unknown_is_404(door: Any, path: str, token: str) -> None:
    answer = await door.get(path.format(token), status=404)
    assert list(answer) == ["message"]
    assert len(answer["message"]) < 300


async def test_a_token_is_evicted_by_its_owner_alone(door: Any) -> None:
    token = await token_of_post(door)
    door.requests.know(token, principal=Principal(1))
    async with door.client.delete(f"/container-token/{token}") as response:
        assert response.status == 403
    door.requests.know(token, principal=Principal(1000))
    async with door.client.delete(f"/container-token/{token}") as response:
        assert response.status == 200
    async with door.client.delete(f"/container-token/{token}") as response:
        assert response.status == 404


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ImageNotFound("docker.io has no image x"), 404),
        (AccessRefused("docker.io refuses x"), 403),
        (UpstreamUnreachable("docker.io does not answer", retry_after=2.5), 424),
        (NoSpace("the store is full"), 507),
    ],
)
async def test_faults_have_their_status_and_sentence(door: Any, error: Any, status: int) -> None:
    door.requests.error = error
    async with door.client.post("/v1alpha2/container", json=IMAGE) as response:
        assert response.status == status
        assert await response.json() == {"message": error.message}
        assert response.headers.get("Retry-After") == ("3" if error.retry_after else None)


async def test_a_defect_shows_its_id_and_nothing_else(door: Any, capsys: pytest.CaptureFixture[str]) -> None:
    door.requests.error = RuntimeError("inner words")
    message = (await door.post(IMAGE, status=500))["message"]
    error_id = message.rpartition(" ")[2]
    assert "inner words" not in message
    logged = "".join(capsys.readouterr())
    assert error_id in logged
    assert "inner words" in logged


@pytest.mark.parametrize(
    ("data", "field"),
    [
        (b"", "the body"),
        (b"{", "the body"),
        (b"nonsense", "the body"),
        (b'{"containerImage": "\xff"}', "the body"),
        (b'{"containerImage": "\\ud800"}', "the body"),
        (b"[]", "the body: expected"),
        (b"null", "the body: expected"),
        (b'{"x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested"),
        (b'{"containerImage": 5}', "containerImage: expected `string"),
        (b'{"containerConfig": []}', "containerConfig: expected `object"),
        (b'{"containerConfig": {"env": [1]}}', r"containerConfig\.env\[0\]: expected `string"),
        (b'{"containerConfig": {"layers": [{"gzipSize": 1.5}]}}', r"containerConfig\.layers\[0\]\.gzipSize"),
        (b'{"freeze": "yes"}', "freeze: expected `boolean"),
        (b'{"packages": "salmon"}', "packages: expected"),
        (b"{}", r"\(containerImage\): nothing to make a container from"),
    ],
)
async def test_a_body_that_is_wrong_is_400(door: Any, data: bytes, field: str) -> None:
    for path in ("/v1alpha2/container", "/container-token"):
        message = (await door.post(data, path, status=400))["message"]
        assert re.search(field, message), message


def large_body(size: int) -> bytes:
    blob = bytes(range(256)) * (size // 256)
    layer = {
        "location": "data:" + base64.b64encode(blob).decode(),
        "gzipDigest": "sha256:" + hashlib.sha256(blob).hexdigest(),
        "gzipSize": len(blob),
        "tarDigest": "sha256:" + "2" * 64,
    }
    return json.dumps({**IMAGE, "containerConfig": {"layers": [layer, layer]}}).encode()


async def test_a_body_of_20_mb_is_taken(door: Any) -> None:
    data = large_body(7_600_000)
    assert len(data) >= 20_000_000
    answers = await asyncio.gather(*(door.post(data) for _ in range(6)))
    assert len({answer["targetImage"] for answer in answers}) == 1
    assert sum(map(len, door.requests.inline.values())) == 7_600_000 // 256 * 256


async def test_a_body_of_100_mb_is_413(door: Any) -> None:
    assert "larger" in (await door.post(b" " * 100_000_000, status=413))["message"]

    async def chunks() -> Any:
        for _ in range(40):
            yield b" " * 1_000_000

    async with door.client.post("/v1alpha2/container", data=chunks()) as response:
        assert response.status == 413
    await door.post(IMAGE)


async def test_a_body_that_breaks_off_harms_nothing(door: Any) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", door.client.port)
    writer.write(b"POST /v1alpha2/container HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{")
    await writer.drain()
    await asyncio.sleep(0.05)
    writer.close()
    await writer.wait_closed()
    del reader
    await door.post(IMAGE)
    assert len(door.requests.records) == 1


async def test_an_image_whose_name_engines_would_refuse(door: Any) -> None:
    message = (await door.post({"containerImage": "quay.io/" + "a/" * 110 + "b"}, status=400))["message"]
    assert message.startswith("the container directive (containerImage): the repository path")


async def test_inspect(door: Any) -> None:
    config = b'{"architecture":"arm64","config":{"Env":["A=1"],"Tty":false}}'
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": Descriptor("application/vnd.oci.image.config.v1+json", Digest.of(config), len(config)).as_json(),
            "layers": [],
        }
    ).encode()
    descriptor = Descriptor(OCI_MANIFEST, Digest.of(manifest), len(manifest))
    door.requests.documents_found = Documents(descriptor, manifest, config)
    for path in ("/v1alpha1/inspect", "/v1alpha2/inspect"):
        answer = await door.post({**IMAGE, "towerAccessToken": "x"}, f"{path}?platform=linux/arm64")
        assert answer["container"]["config"] == {"architecture": "arm64", "config": {"env": ["A=1"], "tty": False}}
        reference = Reference.parse("busybox:1.36")
        assert door.requests.asked[-1] == (reference, Platform("linux", "arm64"), door.identity)
    await door.post(IMAGE, "/v1alpha1/inspect")
    assert door.requests.asked[-1][1] is None


@pytest.mark.parametrize(
    ("body", "query", "words"),
    [
        ({}, "", "containerImage: is missing"),
        ({"containerImage": "docker://busybox"}, "", "containerImage: .*scheme"),
        (IMAGE, "?platform=linux/amd64,linux/arm64", "platform: one platform"),
        (IMAGE, "?platform=windows/amd64", "platform: unsupported"),
    ],
)
async def test_inspect_of_what_is_wrong(door: Any, body: dict[str, Any], query: str, words: str) -> None:
    message = (await door.post(body, f"/v1alpha1/inspect{query}", status=400))["message"]
    assert re.match(words, message), message


@pytest.mark.parametrize("path", ["/validate-creds", "/v1alpha2/validate-creds"])
async def test_validate_credentials(door: Any, path: str) -> None:
    body = {"userName": "me", "password": "pw", "registry": "index.docker.io"}
    assert await door.post(body, path) is True
    host, login = door.requests.asked[-1]
    assert (host, login.username, login.secret) == ("docker.io", "me", "pw")
    door.requests.login_right = False
    assert await door.post({**body, "registry": "127.0.0.1:5000"}, path) is False
    assert "password" in (await door.post({**body, "password": " "}, path, status=400))["message"]
    assert "registry" in (await door.post({**body, "registry": "https://quay.io"}, path, status=400))["message"]
    assert "registry" in (await door.post({**body, "registry": "quay.io/../x"}, path, status=400))["message"]


async def test_what_the_service_says_of_itself(door: Any) -> None:
    info = (await door.get("/service-info"))["serviceInfo"]
    assert tuple(map(int, info["version"].split("."))) >= (1, 31, 0)
    assert info["commitId"]


@pytest.mark.parametrize(("path", "words"), [("/", "wavelet"), ("/robots.txt", "Disallow: /")])
async def test_text_pages(door: Any, path: str, words: str) -> None:
    async with door.client.get(path, allow_redirects=False) as response:
        assert response.status == 200
        assert response.content_type == "text/plain"
        assert words in await response.text()
    assert "message" in await door.get("/favicon.ico", status=404)


async def test_the_state_is_asked_for_anew(door: Any) -> None:
    door.requests.state = Pending()
    token = await token_of_post(door)
    door.requests.state = Ready()
    assert (await door.get(f"/v1alpha2/container/{token}/status"))["succeeded"] is True
