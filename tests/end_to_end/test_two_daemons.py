"""Two nodes of a cluster: what one was asked for, the other serves under the same name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab import images, nextflow
from lab.daemon import Daemon
from lab.engines import Docker
from lab.network import Namespace
from lab.registry import Registry

pytestmark = pytest.mark.registry

LAYER = images.layer({"shared": b"asked here, pulled there\n"})
CONFIG = {"config": {"layers": [LAYER.in_request()]}}


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    made = Namespace()
    try:
        made.create()
        yield made
    finally:
        made.remove()


@pytest.mark.docker
def test_ask_one_and_pull_from_the_other(
    start_daemon: Callable[..., Daemon], registry: Registry, docker: Docker, tmp_path: Path
) -> None:
    variables = {"WAVELET_RECORDS_DIRECTORY": tmp_path / "records"}
    one, two = (start_daemon(tmp_path / name, **variables) for name in ("one", "two"))
    source = f"{registry.host}/lab/busybox:1"
    name = nextflow.target(one, source, **CONFIG)
    path = name.partition("/")[2]
    docker.pull(f"{two.authority}/{path}")
    assert docker.run(f"{two.authority}/{path}", "cat", "/shared") == "asked here, pulled there\n"
    assert nextflow.target(two, source, **CONFIG).partition("/")[2] == path


@pytest.mark.docker
@pytest.mark.netns
def test_ask_a_node_across_the_network(
    start_daemon: Callable[..., Daemon],
    start_registry: Callable[..., Registry],
    namespace: Namespace,
    docker: Docker,
    tmp_path: Path,
) -> None:
    upstream = start_registry(listen="0.0.0.0")
    upstream.push("lab/busybox", "1", images.busybox())
    host = f"{namespace.outer}:{upstream.port}"
    settings = {"upstream": {"registries": {host: {"plain_http": True}}}}
    records = {"WAVELET_RECORDS_DIRECTORY": tmp_path / "records"}
    here = start_daemon(tmp_path / "here", settings=settings, **records)
    there = start_daemon(
        tmp_path / "there",
        address=namespace.inner,
        before=namespace.prefix(),
        settings=settings | {"authority": here.authority, "allow_remote": True},
        **records,
    )
    name = nextflow.target(there, f"{host}/lab/busybox:1", **CONFIG)
    assert name.startswith(f"{here.authority}/wt/")
    docker.pull(name)
    assert docker.run(name, "cat", "/shared") == "asked here, pulled there\n"
    assert there.get(nextflow.manifest_path(name)).status == 200
