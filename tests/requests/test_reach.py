"""The note on frozen names that tasks on other machines would not reach."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from doubles.registry import Registry
from lab.node import ABOUT, Node, open_node, registry_plan
from wavelet.image.reference import Digest, Repository
from wavelet.kinds.augment.node import AugmentedImage
from wavelet.kinds.frozen.node import FrozenImage
from wavelet.plan.node import ContainerConfig, Layer
from wavelet.plan.node import Node as PlanNode
from wavelet.plan.tokens import NOBODY
from wavelet.requests.reach import noting_reach
from wavelet.requests.request import Options, Request

FUSION = ContainerConfig(entrypoint=("/usr/bin/fusion",), env=("FUSION_COMPACT_SYMLINKS=true",))
OWN = Repository("registry.example", "team/own")


def layered(location: str) -> ContainerConfig:
    return ContainerConfig(layers=(Layer(Digest(f"sha256:{'1' * 64}"), 1, Digest(f"sha256:{'2' * 64}"), location),))


def notes(plan: PlanNode) -> tuple[str, ...]:
    return noting_reach(Request.of(plan, NOBODY, ABOUT)).about.notes


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (FUSION, "Fusion is added"),
        (ContainerConfig(entrypoint=("/opt/fusion/entrypoint.sh",)), "Fusion is added"),
        (layered("https://files.example/pkg/2/5/0/fusion-amd64.tar.gz?key=1"), "Fusion is added"),
        (layered("https://files.example/s5cmd_linux_amd64.tar.gz"), "as for AWS Fargate, is added"),
    ],
)
def test_tasks_that_run_elsewhere_are_noted(config: ContainerConfig, words: str) -> None:
    image = AugmentedImage(registry_plan("localhost:5000", "lab/tool"), config)
    (note,) = notes(FrozenImage(image))
    assert words in note
    assert note.startswith("wave.freeze (freeze): ")
    assert "wave.build.repository" in note and "freeze.repository" in note
    assert notes(image) == notes(FrozenImage(image, OWN)) == ()


@pytest.mark.parametrize(
    "config",
    [
        ContainerConfig(env=("A=fusion",)),
        ContainerConfig(entrypoint=("/bin/confusion", "fusion")),
        layered("https://fusion.example/tool.tar.gz"),
        layered("inline:"),
    ],
)
def test_what_says_nothing_of_where_tasks_run(config: ContainerConfig) -> None:
    assert notes(FrozenImage(AugmentedImage(registry_plan("localhost:5000", "lab/tool"), config))) == ()


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    async with open_node(tmp_path / "state") as built:
        yield built


async def test_the_note_is_the_requests(node: Node, registry: Registry) -> None:
    plan = FrozenImage(AugmentedImage(registry_plan(registry.host, "lab/tool"), FUSION))
    request = Request.of(plan, NOBODY, ABOUT, options=Options(wait=5.0))
    status = await node.requests.submissions.submit(request)
    assert status.request.about is not None
    assert [note for note in status.request.about.notes if "Fusion is added" in note]
