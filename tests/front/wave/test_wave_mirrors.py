"""The door's answers about images that are copied to another registry."""

from __future__ import annotations

from typing import Any

import pytest

BODY = {"containerImage": "busybox:1.36", "mirror": True, "buildRepository": "registry.example/mirror"}
TARGET = "registry.example/mirror/library/busybox:1.36"


async def test_a_mirror_is_known_by_its_id(door: Any) -> None:
    answer = await door.post(BODY)
    token = answer["requestId"]
    mirror = f"mr-{token}_0"
    assert answer == {
        "requestId": token,
        "targetImage": TARGET,
        "containerImage": TARGET,
        "buildId": mirror,
        "cached": True,
        "freeze": False,
        "mirror": True,
        "succeeded": True,
    }
    status = await door.get(f"/v1alpha2/container/{token}/status")
    assert (status["mirrorId"], status["status"], status["succeeded"]) == (mirror, "DONE", True)
    assert "buildId" not in status
    assert status["detailsUri"].endswith(f"/view/mirrors/{mirror}")
    record = await door.get(f"/v1alpha1/mirrors/{mirror}")
    shown = {name: record[name] for name in ("mirrorId", "sourceImage", "targetImage", "status", "exitCode")}
    assert shown == {
        "mirrorId": mirror,
        "sourceImage": "docker.io/library/busybox:1.36",
        "targetImage": TARGET,
        "status": "COMPLETED",
        "exitCode": 0,
    }
    for path in (f"/v1alpha1/mirrors/{mirror}/logs", f"/view/mirrors/mr-{token}"):
        async with door.client.get(path) as response:
            assert response.status == 200
            assert response.content_type == "text/plain"


@pytest.mark.parametrize("mirror", ["mr-1", f"bd-{'0' * 32}_0", f"mr-{'0' * 32}"])
async def test_what_is_no_mirror_is_not_found(door: Any, mirror: str) -> None:
    await door.get(f"/v1alpha1/mirrors/{mirror}", status=404)


async def test_what_is_frozen_is_no_mirror(door: Any) -> None:
    answer = await door.post({"containerImage": "busybox:1.36", "freeze": True})
    assert answer["targetImage"] == f"127.0.0.1:9090/frozen/library/busybox:1.36--{answer['requestId']}"
    assert "buildId" not in answer
    for path in ("/v1alpha1/mirrors/{}", "/v1alpha1/mirrors/{}/logs", "/view/mirrors/{}"):
        await door.get(path.format(f"mr-{answer['requestId']}"), status=404)


@pytest.mark.parametrize(
    "body", [BODY | {"buildRepository": "u:password@reg/x"}, BODY | {"containerImage": "u:password@reg/x"}]
)
async def test_a_login_in_a_name_is_neither_shown_nor_kept(door: Any, body: dict[str, Any]) -> None:
    answer = await door.post(body, status=400)
    assert "password" not in answer["message"]
    [(_, about)] = door.requests.refusals
    assert "password" not in str(about)
