"""What one can see of an image that is made of packages: in the answers, and by the routes of builds."""

from __future__ import annotations

import json
from typing import Any

import pytest

from wavelet.errors import Unsolvable
from wavelet.image.reference import Platform
from wavelet.requests.progress import Failed, Pending, Ready

BODY: dict[str, Any] = {
    "packages": {"type": "CONDA", "entries": ["bioconda::samtools=1.17", "pip:numpy"], "channels": ["conda-forge"]}
}


async def submitted(door: Any, path: str = "/v1alpha2/container") -> dict[str, Any]:
    answer = await door.client.post(path, json=BODY)
    assert answer.status == 200, await answer.text()
    made: dict[str, Any] = await answer.json()
    return made


async def test_packages_are_a_build_whose_end_is_to_be_asked_for(door: Any) -> None:
    door.requests.state = Pending()
    answer = await submitted(door)
    token = answer["requestId"]
    assert answer["buildId"] == f"bd-{token}_0"
    assert answer["cached"] is False
    assert "succeeded" not in answer
    assert "/conda/" in answer["targetImage"]
    status = await (await door.client.get(f"/v1alpha2/container/{token}/status")).json()
    assert status["status"] == "BUILDING"
    assert status["buildId"] == answer["buildId"]
    assert status["detailsUri"].endswith(f"/view/builds/{answer['buildId']}")


async def test_packages_that_are_there_already_are_ready_at_once(door: Any) -> None:
    door.requests.state = Ready()
    answer = await submitted(door)
    assert answer["cached"] is True
    assert answer["succeeded"] is True


async def test_an_image_of_a_registry_is_no_build(door: Any) -> None:
    answer = await (await door.client.post("/v1alpha2/container", json={"containerImage": "busybox:1"})).json()
    assert "buildId" not in answer
    assert "cached" not in answer


async def test_why_there_is_no_set_of_packages_is_in_the_status(door: Any) -> None:
    token = (await submitted(door))["requestId"]
    door.requests.state = Failed(Unsolvable("samtools=1.17 cannot be had; the solver says:\nnothing provides x"))
    status = await (await door.client.get(f"/v1alpha2/container/{token}/status")).json()
    assert status["status"] == "DONE"
    assert status["succeeded"] is False
    assert "nothing provides x" in status["reason"]


@pytest.mark.parametrize("path", ["/v1alpha2/container", "/container-token"])
async def test_an_error_looks_the_same_early_and_late(door: Any, path: str) -> None:
    """Fault A6: Nextflow shows a body, and a reason, as they come: a line that says it, then the tree, in both."""
    lines = ["samtools=9.9 cannot be had; the solver says:", "├─ samtools 9.9, for which", "│  └─ there is nothing"]
    token = (await submitted(door))["requestId"]
    door.requests.state = Failed(Unsolvable("\n".join(lines)))
    late = await (await door.client.get(f"/v1alpha2/container/{token}/status")).json()
    assert late["reason"].splitlines() == lines
    door.requests.error = Unsolvable("\n".join(lines))
    response = await door.client.post(path, json={"containerImage": "busybox:1"})
    body = await response.text()
    assert response.status == 400
    assert "\\n" not in body
    assert [line for line in lines if any(line in shown for shown in body.splitlines())] == lines
    assert lines[0] in body.splitlines()[0]
    assert json.loads(body) == {"message": lines[0], "details": lines[1:]}


async def test_a_long_error_is_cut_to_the_same_whole_lines(door: Any) -> None:
    door.requests.error = Unsolvable("it cannot be had:\n" + "\n".join(f"├─ number {n}" for n in range(1000)))
    answer = await (await door.client.post("/v1alpha2/container", json={"containerImage": "busybox:1"})).json()
    assert answer["details"][-1] == "…"
    door.requests.state, door.requests.error = Failed(door.requests.error), None
    token = (await submitted(door))["requestId"]
    late = await (await door.client.get(f"/v1alpha2/container/{token}/status")).json()
    assert late["reason"].splitlines() == [answer["message"], *answer["details"]]


async def test_the_record_of_a_build_shows_what_was_asked(door: Any) -> None:
    build = (await submitted(door))["buildId"]
    record = await (await door.client.get(f"/v1alpha1/builds/{build}")).json()
    assert record["buildId"] == build
    assert "- bioconda::samtools=1.17" in record["condaFile"]
    assert "  - numpy" in record["condaFile"]
    assert record["exitStatus"] == 0


async def test_the_log_is_text(door: Any) -> None:
    build = (await submitted(door))["buildId"]
    assert (await door.client.get(f"/v1alpha1/builds/{build}/logs")).status == 404
    door.requests.log_text = "    0.01 s  solving\n"
    answer = await door.client.get(f"/v1alpha1/builds/{build}/logs")
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert await answer.text() == door.requests.log_text
    page = await (await door.client.get(f"/view/builds/{build}")).text()
    assert "solving" in page
    assert "bioconda::samtools=1.17" in page
    assert build in await (await door.client.get(f"/view/containers/{build[3:35]}")).text()


@pytest.mark.parametrize(
    ("query", "asked"),
    [
        ("", ("explicit", None)),
        ("?format=pixi", ("pixi", None)),
        ("?format=conda-lock&platform=linux/arm64", ("conda-lock", Platform.parse("linux/arm64"))),
    ],
)
async def test_the_lock_comes_in_the_form_that_is_asked_for(door: Any, query: str, asked: tuple[Any, ...]) -> None:
    build = (await submitted(door))["buildId"]
    assert (await door.client.get(f"/v1alpha1/builds/{build}/condalock{query}")).status == 404
    door.requests.lock_text = "@EXPLICIT\n"
    answer = await door.client.get(f"/v1alpha1/builds/{build}/condalock{query}")
    assert await answer.text() == "@EXPLICIT\n"
    assert door.requests.asked[-1] == asked


async def test_a_form_that_there_is_not_is_named(door: Any) -> None:
    build = (await submitted(door))["buildId"]
    answer = await door.client.get(f"/v1alpha1/builds/{build}/condalock?format=poetry")
    assert answer.status == 400
    assert "explicit, pixi, conda-lock" in (await answer.json())["message"]


async def test_a_refresh_is_asked_for_in_so_many_words(door: Any) -> None:
    await submitted(door)
    assert door.requests.refresh is False
    await submitted(door, "/v1alpha2/container?refresh=true")
    assert door.requests.refresh is True
    answer = await door.client.post("/v1alpha2/container?refresh=yes", json=BODY)
    assert answer.status == 400
    assert "neither true nor false" in (await answer.json())["message"]
