"""Prefetching on into real engines: the daemon has Docker and podman pull from itself, by the engines' own APIs."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.daemon import Daemon
from lab.engines import Docker, Podman
from lab.private import WAVELET
from lab.processes import run
from lab.registry import Registry

pytestmark = pytest.mark.registry

PREFETCH_SECONDS = 60.0


@pytest.fixture
def podman_socket(podman: Podman, tmp_path: Path) -> Iterator[Path]:
    """Return the socket of podman's service."""
    path = tmp_path / "podman.sock"
    with podman.service(path):
        yield path


def pulled(node: Daemon, engine: str, socket: Path, *names: str) -> tuple[int, list[dict[str, object]], str]:
    """Run `wavelet pull --into` and return its exit code, what it prints, and what it says.

    Which engine is meant says the variable that its own command reads: fault D13.
    """
    variable = {"docker": "DOCKER_HOST", "podman": "CONTAINER_HOST"}[engine]
    command = [*WAVELET, "pull", "--into", engine, "--socket", str(node.state / "admin.sock"), "--output", "json"]
    environment = os.environ | {variable: f"unix://{socket}"}
    done = run([*command, *names], seconds=PREFETCH_SECONDS, check=False, environment=environment)
    return done.returncode, json.loads(done.stdout), done.stderr


@pytest.mark.docker
def test_into_docker(node: Daemon, registry: Registry, docker: Docker) -> None:
    image = f"{registry.host}/lab/busybox:1"
    code, _, said = pulled(node, "docker", docker.socket, image)
    assert code == 0, said
    name = f"{node.authority}/{image.replace(':', '_', 1)}"
    assert docker.run(name, "echo", "here") == "here\n"
    docker.remove(name)


@pytest.mark.podman
def test_into_podman(node: Daemon, registry: Registry, podman: Podman, podman_socket: Path) -> None:
    image = f"{registry.host}/lab/busybox:1"
    code, _, said = pulled(node, "podman", podman_socket, image)
    assert code == 0, said
    name = f"{node.authority}/{image.replace(':', '_', 1)}"
    assert podman.run(name, "echo", "here") == "here\n"
    podman.remove(name)


@pytest.mark.docker
def test_an_image_that_is_not_there_is_told_in_the_engines_words(
    node: Daemon, registry: Registry, docker: Docker
) -> None:
    code, _, said = pulled(node, "docker", docker.socket, f"{registry.host}/lab/absent:1")
    assert code == 1
    assert "docker does not pull" in said
    assert "lab/absent" in said
