"""The door's routes with the bodies that every Nextflow version and wave-cli send."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

import pytest


def expected_status(body: dict[str, Any]) -> int:
    file, packages = base64.b64decode(body.get("containerFile") or "").decode(), body.get("packages") or {}
    reasons = (
        body.get("scanMode") not in (None, "none"),
        file and ("micromamba" not in file or "RUN echo" in file),
        packages and (packages["type"] != "CONDA" or packages["condaOpts"]["commands"]),
    )
    return 501 if any(reasons) else 200


async def check(door: Any, request: dict[str, Any]) -> None:
    sent, path = request["body"], request["path"]
    headers = {name: value for name, value in request["headers"].items() if name in ("Authorization", "Traceparent")}
    status = expected_status(sent)
    async with door.client.post(path, json=sent, headers=headers, allow_redirects=False) as response:
        answer = await response.json()
        assert response.status == status, answer
        assert response.content_type == "application/json"
    if status == 501:
        found = re.match(r"(?:.* \((?P<named>[A-Za-z.]+)\)|(?P<alone>[A-Za-z.]+)): ", answer["message"])
        assert found is not None, answer
        field = found["named"] or found["alone"]
        assert list(answer) == ["message"]
        assert sent[field.partition(".")[0]]
        assert "this version of wavelet" in answer["message"]
        return
    if sent.get("freeze") or sent.get("mirror"):
        check_delivered(sent, answer)
    else:
        name = r"127\.0\.0\.1:9090/wt/[0-9a-f]{32}/[a-z0-9/._-]+[:@][A-Za-z0-9:._-]+"
        assert re.fullmatch(name, answer["targetImage"])
        assert answer["requestId"] == answer["containerToken"] == answer["targetImage"].split("/")[2]
        # Packages are a build to the clients of the second API; those of the first would then ask by https.
        assert ("buildId" in answer) is ("cached" in answer) is bool(sent.get("packages"))
        assert answer["expiration"].endswith("Z")
    assert answer.get("succeeded") is (None if path == "/container-token" else True)
    assert door.requests.dry_run is bool(sent.get("dryRun"))


def check_delivered(sent: dict[str, Any], answer: dict[str, Any]) -> None:
    """Wave's answer for what is frozen or mirrored: a name of its own, and no token."""
    assert answer["targetImage"] == answer["containerImage"]
    assert "containerToken" not in answer and "expiration" not in answer
    token, repository = answer["requestId"], sent["buildRepository"]
    if sent.get("mirror"):
        assert answer["targetImage"] == f"{repository}/library/busybox:1.36"
        assert answer["buildId"] == f"mr-{token}_0"
    else:
        scheme = "oras://" if sent.get("format") == "sif" else ""
        assert answer["targetImage"].startswith(f"{scheme}{repository}:")
        assert answer["targetImage"].endswith(f"--{token}")
        assert answer["buildId"] == f"bd-{token}_0"
    assert answer.get("freeze", False) is bool(sent.get("freeze"))


async def test_each_version_is_answered(door: Any, version: dict[str, Any]) -> None:
    await check(door, version)


async def test_each_recorded_request_is_answered(door: Any, recording: dict[str, Any]) -> None:
    if recording["method"] == "POST":
        await check(door, recording)
    elif recording["path"].endswith("/status"):
        assert "message" in await door.get(recording["path"], status=404)


async def test_what_a_platform_user_sends_is_kept_nowhere(door: Any) -> None:
    secret = "s3cr3t-token"
    body = {
        "containerImage": "busybox",
        "towerAccessToken": secret,
        "towerRefreshToken": secret,
        "towerEndpoint": f"http://{secret}",
        "towerWorkspaceId": 7,
        "workflowId": secret,
    }
    answer = await door.post(body)
    assert answer["targetImage"] == (await door.post({"containerImage": "busybox"}))["targetImage"]
    token = answer["requestId"]
    record = door.requests.records[token]
    shown = [await door.get(f"/v1alpha2/container/{token}"), await door.get(f"/container-token/{token}")]
    assert secret not in repr(record) + repr(door.requests.inline) + json.dumps([answer, *shown])


async def test_a_bundle_goes_on_as_inline_bytes(door: Any) -> None:
    request = json.loads((Path(__file__).parent / "bodies/24.10.6-bundle-post.json").read_text())
    layer = request["body"]["containerConfig"]["layers"][0]
    answer = await door.post(request["body"])
    assert {digest: len(data) for digest, data in door.requests.inline.items()} == {
        layer["gzipDigest"]: layer["gzipSize"]
    }
    shown = await door.get(f"/v1alpha2/container/{answer['requestId']}")
    assert shown["containerConfig"]["layers"] == [
        {
            "location": "data:DATA+OMITTED",
            "gzipDigest": layer["gzipDigest"],
            "gzipSize": layer["gzipSize"],
            "tarDigest": layer["tarDigest"],
        }
    ]


@pytest.mark.parametrize(
    ("body", "status", "shown"),
    [
        (b"{", 400, ""),
        ({"containerImage": "UPPER:1"}, 400, "UPPER:1"),
        ({"containerImage": "busybox:1", "scanMode": "async"}, 501, "busybox:1"),
        ({"packages": {"type": "CRAN", "entries": ["r-ggplot2"]}}, 501, "r-ggplot2"),
    ],
)
async def test_what_is_refused_as_it_stands_is_written_down(door: Any, body: Any, status: int, shown: str) -> None:
    """Fault D14: the sentence of any 400 or 501, and what was asked for."""
    answer = await door.post(body, status=status)
    [(error, about)] = door.requests.refusals
    assert (error.message, about.image, about.api) == (answer["message"], shown, "v1alpha2")
