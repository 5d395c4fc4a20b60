"""Tags that move under running pipelines: an engine that keeps what it has pulled runs what the name stands for."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lab import images, nextflow
from lab.daemon import Daemon
from lab.engines import Docker
from lab.registry import Registry

pytestmark = [pytest.mark.registry, pytest.mark.docker]

TTL = 0.2


def saying(text: str) -> images.Image:
    return images.busybox(images.layer({"says": text.encode()}))


def test_new_content_is_run_and_the_old_name_stays_on_every_node(
    start_daemon: Callable[..., Daemon], registry: Registry, docker: Docker, tmp_path: Path
) -> None:
    """Fault A1: the same name, and an engine went on running yesterday's image under it."""
    settings = {"upstream": {"tag_ttl": TTL}, "records": {"directory": str(tmp_path / "records")}}
    one, two = (start_daemon(tmp_path / name, settings=settings) for name in ("one", "two"))
    source = registry.push("lab/moving", "1", saying("yesterday"))
    config = {"env": ["A=1"]}

    def asked() -> str:
        return nextflow.target(one, source, config=config).partition("/")[2]

    def run(node: Daemon, path: str) -> str:
        # As `docker run` does it: what is here already is not pulled again.
        return docker.run(f"{node.authority}/{path}", "cat", "/says")

    first = asked()
    docker.pull(f"{one.authority}/{first}")
    assert run(one, first) == "yesterday"
    registry.push("lab/moving", "1", saying("today"))
    time.sleep(2 * TTL)
    second = asked()
    assert second != first
    docker.pull(f"{one.authority}/{second}")
    assert run(one, second) == "today"
    for path, said in ((first, "yesterday"), (second, "today")):
        docker.pull(f"{two.authority}/{path}")
        assert run(two, path) == said
    assert asked() == second
    dry = nextflow.ask(one, containerImage=source, config=config, dryRun=True)
    assert dry["targetImage"].partition("/")[2] == second
