"""What nf-core's profiles with `wave.freeze` send, played with two nodes that share records, and run by engines.

`-profile docker,wave`, `docker,arm64` and `apptainer,wave` set `wave.strategy = 'conda,container'`, `wave.freeze` and
no repository, so that the node's own registry has what is frozen, under a name that lasts.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lab import images, nextflow, versions
from lab.conda_asks import ACCEPT, CondaSite, blob, config, digest, manifest, status
from lab.daemon import Daemon
from lab.engines import Docker, Engine, Podman
from lab.processes import wait_for
from lab.registry import Registry
from lab.task_image import task_image_for_both

pytestmark = pytest.mark.registry

FREEZING = [version for version in versions.VERSIONS if version >= "23.10"]
"""`wave.freeze` came with 23.10."""

SAMTOOLS = "bioconda::samtools=1.17"
LAYER = images.layer({"added": b"a layer of the request\n"})
READY_SECONDS = 30.0


@dataclass
class Pair:
    """Two nodes that share records, and what they make images of."""

    one: Daemon
    two: Daemon
    image: str

    def on_two(self, name: str) -> str:
        """Return a name of the first node as the other one's engines pull it."""
        return f"{self.two.authority}/{name.partition('/')[2]}"


@pytest.fixture(scope="module")
def pair(conda_site: CondaSite, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    root = tmp_path_factory.mktemp("frozen")
    records = {"WAVELET_RECORDS_DIRECTORY": root / "records"}
    base = conda_site.registry.push("frozen/base", "1", task_image_for_both())
    settings = conda_site.settings(base_image=base)
    one, two = (Daemon(root / name, settings=settings, **records) for name in ("one", "two"))
    conda_site.registry.push("frozen/tool", "1.17--h50ea8bc_0", images.two_architectures(images.OCI))
    try:
        yield Pair(one.start(), two.start(), f"{conda_site.registry.host}/frozen/tool:1.17--h50ea8bc_0")
    finally:
        one.stop()
        two.stop()


def polled(node: Daemon, version: str, answer: dict[str, Any]) -> None:
    """Wait as a version does until it would start the task, if it waits at all."""
    if version.startswith(versions.POSTING_V1):
        return
    if version == "24.04":
        build = answer.get("buildId")
        if build is None or answer["cached"]:
            return
        path = f"/v1alpha1/builds/{build}/status"
        wait_for(lambda: node.get(path).json()["status"] == "COMPLETED", build, READY_SECONDS)
        return
    if answer.get("succeeded") is True:
        return

    def decided() -> bool:
        state = status(node, answer["requestId"])
        assert state["creationTime"].endswith("Z") and state["status"] in ("PENDING", "BUILDING", "DONE")
        return bool(state["status"] == "DONE")

    wait_for(decided, "the container", READY_SECONDS)
    assert status(node, answer["requestId"])["succeeded"] is True


def frozen(node: Daemon, version: str, **fields: Any) -> str:
    """Freeze as a version does, hold the answer against Wave's, wait as it does, and return the name of its tasks."""
    answer = versions.ask(node, version, freeze=True, **fields)
    assert answer["containerImage"] == answer["targetImage"]
    is_sif = fields.get("format") == "sif"
    assert answer["targetImage"].startswith(f"{'oras://' if is_sif else ''}{node.authority}/frozen/")
    assert not {"containerToken", "expiration"} & set(answer)
    is_v1 = version.startswith(versions.POSTING_V1)
    assert ("buildId" in answer) == (("entries" in fields or is_sif) and not is_v1)

    assert is_v1 or (answer["freeze"], answer["mirror"]) == (True, False)
    assert answer.get("cached") == (None if "buildId" not in answer else answer.get("succeeded", False))
    polled(node, version, answer)
    return str(answer["targetImage"])


@pytest.mark.parametrize("version", FREEZING)
def test_what_profiles_send(pair: Pair, version: str) -> None:
    """A process with a conda directive, one with a container only, for each architecture, and for Apptainer."""
    asked: list[dict[str, Any]] = [
        {"entries": [SAMTOOLS]},
        {"entries": [SAMTOOLS], "format": "sif"},
        {"containerImage": pair.image},
        {"containerImage": pair.image, "format": "sif"},
        {"containerImage": pair.image, "containerPlatform": "linux/arm64"},
        {"entries": [SAMTOOLS], "containerPlatform": "linux/arm64"},
    ]
    answered = [frozen(pair.one, version, **fields) for fields in asked]
    assert [name.startswith("oras://") for name in answered] == [fields.get("format") == "sif" for fields in asked]
    names = [name.removeprefix("oras://") for name in answered]
    assert len(set(names)) == len(names)
    for name in names[:2]:
        assert name.startswith(f"{pair.one.authority}/frozen/samtools:1.17--")
    for name in names[2:4]:
        assert name.startswith(f"{pair.one.authority}/frozen/frozen/tool:1.17--h50ea8bc_0--")
    for name in names:
        assert digest(pair.two, pair.on_two(name)) == digest(pair.one, name)
    found = [config(pair.one, names[number])["architecture"] for number in (0, 2, 4, 5)]
    assert found == ["amd64", "amd64", "arm64", "arm64"]


@pytest.fixture(scope="module")
def in_use(pair: Pair) -> dict[str, str]:
    """Return the names of three frozen images, each given before a node was killed, and what runs in them says."""
    said: dict[str, str] = {}
    for fields, text in (
        ({"entries": [SAMTOOLS, "bwa=0.7.17"]}, "samtools 1.17\n"),
        ({"containerImage": pair.image}, "amd64\n"),
        ({"containerImage": pair.image, "config": {"layers": [LAYER.in_request()]}}, "a layer of the request\n"),
    ):
        said[frozen(pair.one, "25.10", **fields)] = text
        pair.one.kill()
        pair.one.start()
    return said


with_two_engines = pytest.mark.parametrize(
    "engine", [pytest.param(name, marks=getattr(pytest.mark, name)) for name in ("docker", "podman")], indirect=True
)


@with_two_engines
def test_engines_pull_and_run_them_from_either_node(pair: Pair, in_use: dict[str, str], engine: Engine) -> None:
    digests = {name: digest(pair.one, name) for name in in_use}
    assert isinstance(engine, Docker | Podman)
    pair.two.stop()
    pair.two.start()
    commands = (("samtools",), ("cat", "/arch"), ("cat", "/added"))
    for (name, text), command in zip(in_use.items(), commands, strict=True):
        for each in (name, pair.on_two(name)):
            engine.pull(each)
            assert engine.run(each, *command) == text
            if isinstance(engine, Docker):
                assert engine.digest(each) == digests[name]


def test_an_image_with_nothing_to_add_keeps_its_digest(pair: Pair, registry: Registry) -> None:
    for family in (images.OCI, images.DOCKER):
        made = images.busybox(images.layer({"f": family.encode()}), family=family)
        source = registry.push("frozen/single", family, made)
        assert digest(pair.one, frozen(pair.one, "24.10", containerImage=source)) == made.digest
        pinned = f"{registry.host}/frozen/single@{made.digest}"
        name = frozen(pair.one, "24.10", containerImage=pinned)
        assert digest(pair.two, pair.on_two(name)) == made.digest
        by_digest = name.partition("/")[2].rpartition(":")[0] + f"@{made.digest}"
        assert digest(pair.one, f"{pair.one.authority}/{by_digest}") == made.digest


def test_what_is_added_to_a_digest(pair: Pair, registry: Registry) -> None:
    """Wave refuses this without freeze. What it came from is noted."""
    made = images.busybox(family=images.OCI)
    registry.push("frozen/pinned", "1", made)
    pinned = f"{registry.host}/frozen/pinned@{made.digest}"
    changes = {"layers": [LAYER.in_request()], "env": ["A=b"]}
    name = frozen(pair.one, "25.10", containerImage=pinned, config=changes)
    document = manifest(pair.two, pair.on_two(name))
    assert "A=b" in config(pair.two, pair.on_two(name), document)["config"]["Env"]
    assert document["layers"][-1]["digest"] == LAYER.digest
    noted = document["annotations"]
    assert noted["org.opencontainers.image.base.digest"] == made.digest
    assert noted["org.opencontainers.image.base.name"] == f"{registry.host}/frozen/pinned"


def test_an_index_of_two_platforms(pair: Pair) -> None:
    both = {"containerPlatform": "linux/amd64,linux/arm64"}
    for fields in ({"containerImage": pair.image}, {"containerImage": pair.image, "config": {"env": ["A=b"]}}):
        name = frozen(pair.one, "26.04", **fields, **both)
        index = manifest(pair.one, name)
        assert [each["platform"]["architecture"] for each in index["manifests"]] == ["amd64", "arm64"]
        assert digest(pair.two, pair.on_two(name)) == digest(pair.one, name)
        for each in index["manifests"]:
            member = name.partition("/")[2].rpartition(":")[0] + f"@{each['digest']}"
            found = config(pair.two, f"{pair.two.authority}/{member}")
            assert found["architecture"] == each["platform"]["architecture"]


def test_a_dry_run_makes_nothing_and_says_the_name(pair: Pair) -> None:
    fields = {"entries": ["bioconda::bwa=0.7.18"], "freeze": True}
    dry = versions.ask(pair.one, "25.10", dryRun=True, **fields)
    assert dry["succeeded"] is True
    assert not any("bwa" in str(path) for path in (pair.one.state / "partial").iterdir())
    answer = versions.ask(pair.two, "25.10", **fields)
    assert answer["targetImage"].partition("/")[2] == dry["targetImage"].partition("/")[2]
    assert digest(pair.one, dry["targetImage"]) == digest(pair.two, answer["targetImage"])


@pytest.mark.parametrize(
    ("strategy", "path", "readable"),
    [
        ("none", "frozen/build", ""),
        ("tagPrefix", "frozen/build", "samtools-1.17_bwa-0.7.17--"),
        ("imageSuffix", "frozen/samtools_bwa", ""),
    ],
)
def test_names_by_strategy(pair: Pair, strategy: str, path: str, readable: str) -> None:
    name = frozen(pair.one, "25.10", entries=[SAMTOOLS, "bwa=0.7.17"], nameStrategy=strategy)
    repository, _, tag = name.partition("/")[2].rpartition(":")
    assert (repository, tag[:-32]) == (path, readable)
    assert digest(pair.two, pair.on_two(name)) == digest(pair.one, name)


def test_a_name_answers_one_digest_while_its_tag_moves(pair: Pair, registry: Registry) -> None:
    first = images.busybox(images.layer({"v": b"1"}))
    source = registry.push("frozen/moves", "1", first)
    name = frozen(pair.one, "24.10", containerImage=source)
    registry.push("frozen/moves", "1", images.busybox(images.layer({"v": b"2"})))
    assert digest(pair.two, pair.on_two(name)) == first.digest


def test_a_node_that_dies_while_it_makes(
    start_daemon: Callable[..., Daemon], own_site: CondaSite, tmp_path: Path
) -> None:
    node = start_daemon(settings=own_site.settings())
    own_site.server.fault(r"samtools.*\.conda", stall=100_000)
    answer = versions.ask(node, "25.10", entries=[SAMTOOLS], freeze=True)
    assert "succeeded" not in answer and answer["cached"] is False
    assert status(node, answer["requestId"])["status"] == "BUILDING"
    node.kill()
    own_site.server.clear_faults()
    node.start()
    polled(node, "25.10", answer)
    bill = node.get(
        nextflow.manifest_path(answer["targetImage"]).partition("/manifests/")[0]
        + f"/referrers/{digest(node, answer['targetImage'])}"
    )
    assert bill.json()["manifests"]
    again = versions.ask(node, "24.04", entries=[SAMTOOLS], freeze=True)
    assert (again["targetImage"], again["cached"]) == (answer["targetImage"], True)


def test_a_node_that_has_no_record_says_where_names_are_shared(
    pair: Pair, daemon: Daemon, in_use: dict[str, str]
) -> None:
    name = next(iter(in_use)).partition("/")[2]
    began = time.monotonic()
    answer = daemon.get(nextflow.manifest_path(f"{daemon.authority}/{name}"), Accept=ACCEPT)
    assert answer.status == 404
    assert b"records.directory" in answer.body and b"freeze.repository" in answer.body
    assert time.monotonic() - began < 5.0


def test_layers_of_a_frozen_image_are_those_of_its_manifest(pair: Pair, in_use: dict[str, str]) -> None:
    for name in in_use:
        for each in manifest(pair.two, pair.on_two(name))["layers"]:
            assert len(blob(pair.two, pair.on_two(name), each["digest"])) == each["size"]
