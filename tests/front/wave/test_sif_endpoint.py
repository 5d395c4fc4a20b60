"""Wave's API under `/sif`: what is answered are SIF files, as paths or as addresses, whatever is asked for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from wavelet.cluster.sif_directory.directory import SifDirectory
from wavelet.config import Settings
from wavelet.errors import UpstreamUnreachable
from wavelet.front.wave.endpoint import Endpoint
from wavelet.image.reference import Digest
from wavelet.kinds.frozen.node import FrozenImage
from wavelet.kinds.mirrored.node import MirroredImage
from wavelet.kinds.registry_image.node import RegistryImage
from wavelet.kinds.sif.node import SifImage
from wavelet.plan.canonical import Pin
from wavelet.plan.node import Node, map_parts
from wavelet.requests.progress import Failed, Pending
from wavelet.requests.sif_answers import SifAnswers

AUTHORITY = "127.0.0.1:9090"
BODY = {"containerImage": "quay.io/lab/busybox:1.36"}
POLLING = BODY | {"mirror": False}


def pinned(plan: Node) -> Pin:
    def fix(part: Node) -> Node:
        assert isinstance(part, RegistryImage)
        return replace(part, reference=part.reference.at(Digest.of(b"1")))

    return Pin.of(map_parts(plan, fix))


async def is_public(_: Node) -> bool:
    return True


@pytest.fixture(params=[True, False], ids=["a directory", "none"])
def directory(request: pytest.FixtureRequest, tmp_path: Path) -> Path | None:
    return tmp_path / "sif" if request.param else None


@pytest.fixture
async def sif_door(directory: Path | None, open_door: Any) -> AsyncIterator[Any]:
    settings = msgspec.convert({"sif": {"directory": str(directory or "")}}, Settings)
    files = SifDirectory(settings)
    async with open_door(Endpoint(AUTHORITY, "/sif", SifAnswers(AUTHORITY, files, is_public))) as found:
        found.requests.pin = pinned
        yield found
    files.close()


def check_name(name: str, token: str, directory: Path | None) -> None:
    if directory is None:
        assert name == f"http://{AUTHORITY}/sif/lab-busybox-1.36--{token}.sif"
    else:
        assert name.startswith(f"{directory}/lab-busybox-1.36--")
        assert name.endswith(".sif")


async def test_a_file_is_answered(sif_door: Any, directory: Path | None) -> None:
    answer = await sif_door.post(POLLING, "/sif/v1alpha2/container")
    check_name(answer["targetImage"], answer["requestId"], directory)
    described = await sif_door.get(f"/sif/v1alpha2/container/{answer['requestId']}")
    assert described["waveImage"] == answer["targetImage"]
    record = await sif_door.get(f"/sif/v1alpha1/builds/{answer['buildId']}")
    assert (record["targetImage"], record["format"]) == (answer["targetImage"], "SINGULARITY")
    status = await sif_door.get(f"/sif/v1alpha2/container/{answer['requestId']}/status")
    assert "/sif/view/builds/" in status["detailsUri"]


@pytest.mark.parametrize(
    ("members", "shape"),
    [
        ({}, [SifImage, RegistryImage]),
        ({"freeze": True}, [FrozenImage, SifImage, RegistryImage]),
        ({"freeze": True, "format": "sif"}, [FrozenImage, SifImage, RegistryImage]),
        ({"mirror": True, "buildRepository": "reg.test"}, [SifImage, MirroredImage, RegistryImage]),
    ],
)
async def test_whatever_is_asked_for_is_a_sif(
    sif_door: Any, directory: Path | None, members: dict[str, Any], shape: list[type[Node]]
) -> None:
    answer = await sif_door.post(POLLING | members, "/sif/v1alpha2/container")
    check_name(answer["targetImage"], answer["requestId"], directory)
    plan: Node = sif_door.requests.records[answer["requestId"]].plan
    for kind in shape:
        assert type(plan) is kind
        plan = next(iter(plan.children), plan)


async def test_the_endpoint_itself_says_what_it_is_for(sif_door: Any) -> None:
    for path in ("/sif", "/sif/"):
        async with sif_door.client.get(path) as response:
            assert (response.status, "http://<this address>/sif" in await response.text()) == (200, True)


@pytest.mark.parametrize("path", ["/sif/container-token", "/sif/v1alpha2/container"])
async def test_who_does_not_ask_again_waits_for_a_path(sif_door: Any, directory: Path | None, path: str) -> None:
    """Nextflow up to 24.04 starts the task with what the POST has answered; a path has to be there then."""
    sif_door.requests.state = Pending()
    await sif_door.post(BODY, path)
    assert sif_door.requests.waits == (0 if directory is None else 1)


async def test_who_asks_again_does_not_wait(sif_door: Any) -> None:
    sif_door.requests.state = Pending()
    answer = await sif_door.post(POLLING, "/sif/v1alpha2/container")
    assert "succeeded" not in answer
    assert sif_door.requests.waits == 0


@pytest.mark.parametrize(
    ("members", "path", "waits"),
    [
        ({}, "/v1alpha2/container", 0),
        ({"mirror": False}, "/v1alpha2/container", 0),
        ({"format": "sif"}, "/v1alpha2/container", 1),
        ({"format": "sif", "mirror": False}, "/v1alpha2/container", 1),
        ({}, "/container-token", 1),
    ],
)
async def test_where_images_are_named_who_waits(door: Any, members: dict[str, Any], path: str, waits: int) -> None:
    """Nextflow 24.04 sends no `mirror`, and asks how far a push is all the same."""
    door.requests.state = Pending()
    await door.post(BODY | {"freeze": True, "buildRepository": "reg.test/frozen"} | members, path)
    assert door.requests.waits == waits


async def test_a_path_is_answered_when_it_is_known(sif_door: Any, directory: Path | None) -> None:
    sif_door.requests.state, sif_door.requests.is_pinned = Pending(), False
    answer = await sif_door.post(POLLING, "/sif/v1alpha2/container")
    check_name(answer["targetImage"], answer["requestId"], directory)
    assert sif_door.requests.waits == (0 if directory is None else 1)


async def test_a_path_that_there_will_not_be(sif_door: Any, directory: Path | None) -> None:
    sif_door.requests.state = Pending()
    sif_door.requests.becomes = Failed(UpstreamUnreachable("quay.io does not answer"))
    answer = await sif_door.post(BODY, "/sif/container-token", status=200 if directory is None else 424)
    assert directory is None or "quay.io does not answer" in answer["message"]


async def test_a_path_that_is_not_there_yet(sif_door: Any, directory: Path | None) -> None:
    sif_door.requests.state = sif_door.requests.becomes = Pending()
    answer = await sif_door.post(BODY, "/sif/container-token", status=200 if directory is None else 503)
    assert directory is None or "still worked on" in answer["message"]


async def test_a_dry_run_waits_for_nothing_to_be_made(sif_door: Any, directory: Path | None) -> None:
    sif_door.requests.state = Pending()
    answer = await sif_door.post(BODY | {"dryRun": True}, "/sif/v1alpha2/container")
    check_name(answer["targetImage"], answer["requestId"], directory)
    assert sif_door.requests.waits == 0
