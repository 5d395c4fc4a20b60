"""A site whose nodes share a directory of SIFs: what Nextflow is answered is there, and is made by one of them."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab import sif
from lab.conda_asks import CondaSite, packages
from lab.daemon import Daemon
from lab.http import request
from lab.processes import wait_for
from lab.registry import Registry

READY_SECONDS = 60.0


def node_of(directory: Path, name: str, **more: Any) -> Daemon:
    settings = {"sif": {"directory": str(directory / "sif")}} | more
    return Daemon(directory / name, settings=settings)


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[list[Daemon]]:
    made = [node_of(tmp_path, name).start() for name in ("one", "two")]
    yield made
    for each in made:
        each.stop()


def ask(node: Daemon, path: str = "/sif/v1alpha2/container", **body: Any) -> dict[str, Any]:
    answer = request("POST", node.url + path, body=json.dumps(body).encode(), seconds=READY_SECONDS)
    assert answer.status == 200, answer.body
    return dict(json.loads(answer.body))


def segments_made(node: Daemon) -> int:
    """Return how many segments a node knows to have made."""
    with sqlite3.connect(node.state / "node.db") as database:
        rows = database.execute("SELECT plan FROM images").fetchall()
    return sum(b'"segment":' in plan for (plan,) in rows)


@pytest.mark.registry
@pytest.mark.parametrize("path", ["/sif/container-token", "/sif/v1alpha2/container"])
def test_who_does_not_ask_again_finds_the_file(nodes: list[Daemon], registry: Registry, path: str) -> None:
    """Nextflow up to 24.04, which sends no `mirror`, starts the task with what the POST has answered."""
    answer = ask(nodes[0], path, containerImage=f"{registry.host}/lab/busybox:1")
    file = Path(answer["targetImage"])
    assert file.is_file()
    assert file.stat().st_mode & 0o777 == 0o644


@pytest.mark.registry
@pytest.mark.squashfs
def test_another_node_makes_it_not_again(nodes: list[Daemon], registry: Registry, tmp_path: Path) -> None:
    asked = {"containerImage": f"{registry.host}/lab/busybox:1", "containerConfig": {"env": ["A=1"]}}
    first, second = (ask(node, **asked) for node in nodes)
    assert first["targetImage"] == second["targetImage"]
    assert [segments_made(node) for node in nodes] == [1, 0]
    script = ".singularity.d/env/10-docker2singularity.sh"
    assert "A='1'" in (sif.unpacked(Path(first["targetImage"]), tmp_path / "out") / script).read_text()


@pytest.mark.registry
def test_a_file_that_was_removed_is_there_when_it_is_asked_for_again(nodes: list[Daemon], registry: Registry) -> None:
    asked = {"containerImage": f"{registry.host}/lab/busybox:1"}
    file = Path(ask(nodes[0], **asked)["targetImage"])
    was = file.read_bytes()
    file.unlink()
    assert ask(nodes[0], **asked)["targetImage"] == str(file)
    assert file.read_bytes() == was


@pytest.mark.registry
def test_who_asks_again_is_told_when_it_is_there(nodes: list[Daemon], registry: Registry) -> None:
    answer = ask(nodes[0], containerImage=f"{registry.host}/lab/busybox:1", mirror=False, freeze=False)
    status = f"{nodes[0].url}/sif/v1alpha2/container/{answer['requestId']}/status"

    def is_done() -> bool:
        return bool(json.loads(nodes[0].get(status.removeprefix(nodes[0].url)).body).get("succeeded"))

    wait_for(is_done, "the SIF", READY_SECONDS)
    assert Path(answer["targetImage"]).is_file()


@pytest.mark.registry
def test_what_is_frozen_or_mirrored_is_the_same_file(
    nodes: list[Daemon], registry: Registry, start_registry: Any
) -> None:
    other = start_registry()
    target = f"localhost:{other.host.rpartition(':')[2]}/team"
    asked = {"containerImage": f"{registry.host}/lab/busybox:1"}
    plain, frozen, pushed, mirrored = (
        ask(nodes[0], "/sif/v1alpha2/container", **asked, **more)["targetImage"]
        for more in (
            {},
            {"freeze": True, "format": "sif"},
            {"freeze": True, "buildRepository": target},
            {"mirror": True, "buildRepository": target},
        )
    )
    assert plain == frozen == pushed == mirrored


@pytest.mark.registry
def test_a_dry_run_names_the_file_and_makes_none(nodes: list[Daemon], registry: Registry) -> None:
    asked = {"containerImage": f"{registry.host}/lab/busybox:1"}
    named = ask(nodes[0], **asked, dryRun=True)["targetImage"]
    assert not Path(named).exists()
    assert ask(nodes[0], **asked)["targetImage"] == named


def test_packages_are_a_file_as_soon_as_it_is_known_which(conda_site: CondaSite, tmp_path: Path) -> None:
    node = node_of(tmp_path, "conda", **conda_site.settings()).start()
    answer = ask(node, packages=packages("samtools=1.17"), mirror=False)
    file = Path(answer["targetImage"])
    assert file.name.startswith("conda-samtools-1.17--")
    wait_for(file.is_file, "the SIF", READY_SECONDS)
    node.stop()


@pytest.mark.registry
def test_the_log_says_what_was_made(nodes: list[Daemon], registry: Registry) -> None:
    answer = ask(nodes[0], containerImage=f"{registry.host}/lab/busybox:1")
    log = nodes[0].get(f"/sif/v1alpha1/builds/bd-{answer['requestId']}_0/logs").body.decode()
    assert " as a segment of " in log
    assert "1 layers in a SIF of " in log
