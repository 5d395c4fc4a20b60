"""Nodes without a way out: what was seen once is enough for new environments, and so is a directory of packages."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab import conda_asks, images, nextflow
from lab.conda_asks import CondaSite, ask, digest, done, files, layers, made
from lab.conda_channel import ChannelServer
from lab.daemon import Daemon
from lab.engines import Docker
from lab.registry import Registry
from lab.task_image import task_image

pytestmark = pytest.mark.registry


@pytest.fixture
def lonely(start_registry: Callable[..., Registry], channel: Path) -> Iterator[CondaSite]:
    """Return a base image and channels on servers of the test's own, to switch off."""
    registry = start_registry()
    base = registry.push("lab/task", "1", task_image())
    with ChannelServer({conda_asks.CHANNEL: channel}) as server:
        yield CondaSite(registry, server, base)


@pytest.mark.docker
def test_a_warm_node_needs_nobody(start_daemon: Callable[..., Daemon], lonely: CondaSite, docker: Docker) -> None:
    node = start_daemon(settings=lonely.settings(repodata_ttl=0), WAVELET_UPSTREAM_TAG_TTL=0)
    made(node, "samtools=1.17", "lab-report")
    made(node, "bwa=0.7.17")
    lonely.server.off()
    lonely.registry.stop()
    began = time.monotonic()
    answer = ask(node, "bwa=0.7.17", "samtools=1.17", "labtool")
    state = done(node, answer["requestId"])
    assert state["succeeded"] is True, state
    assert time.monotonic() - began < 15
    docker.pull(answer["targetImage"])
    assert docker.run(answer["targetImage"], "/bin/bash", "-c", "bwa; labtool").startswith("bwa 0.7.17\n")
    node.stop()
    node.start()
    answer = ask(node, "labtool", "bwa=0.7.17")
    state = done(node, answer["requestId"])
    assert state["succeeded"] is True, state
    state = done(node, ask(node, "which")["requestId"], 15)
    assert state["succeeded"] is False
    assert lonely.server.host in state["reason"]


def test_a_channel_that_is_a_directory(
    start_daemon: Callable[..., Daemon], conda_site: CondaSite, channel: Path
) -> None:
    url = f"file://{channel}"
    node = start_daemon(settings=conda_site.settings(channels=[url], allowed_channels=[url], channel_alias=""))
    name = made(node, "samtools=1.17", "lab-report", channels=(url,))
    found = files(layers(node, name))
    assert found["opt/conda/share/samtools/version.txt"] == b"1.17\n"
    build = ask(node, "samtools=1.17", "lab-report", channels=(url,))["buildId"]
    assert url in conda_asks.lock(node, build)
    again = made(node, environment=conda_asks.lock(node, build), channels=())
    assert digest(node, again) == digest(node, name)
    by_name = node.get("/v2/conda/bwa/manifests/0.7.17", Accept=", ".join(images.MANIFEST_TYPES))
    assert by_name.status == 200


def test_a_directory_that_is_not_allowed(conda_node: Daemon, channel: Path) -> None:
    answer = conda_asks.post(conda_node, "samtools", channels=(f"file://{channel}",))
    assert answer.status == 403
    assert "allowed_channels" in answer.json()["message"]
    url = f"file://{channel}/linux-64/which-2.21-h0_0.conda"
    answer = conda_asks.post(conda_node, environment=f"@EXPLICIT\n{url}\n", channels=())
    assert answer.status in (400, 403)


def test_a_channel_that_is_not_allowed(start_daemon: Callable[..., Daemon], own_site: CondaSite) -> None:
    node = start_daemon(settings=own_site.settings(allowed_channels=["conda-forge"]))
    made(node, "which")
    answer = conda_asks.post(node, "which", channels=("bioconda",))
    assert answer.status == 403
    assert "bioconda" in answer.json()["message"]
    url = f"{own_site.server.url}/bioconda/linux-64/which-2.21-h0_0.conda"
    for asked in ({"environment": f"@EXPLICIT\n{url}\n"}, {"environment": f"dependencies: ['{url}']\n"}):
        answer = conda_asks.post(node, channels=(), **asked)
        assert answer.status == 403, answer.body
    pulled = node.get("/v2/conda/bioconda_c_cwhich/manifests/latest", Accept=conda_asks.ACCEPT)
    assert pulled.status >= 400
    assert not own_site.server.count("/bioconda/")


def test_a_mirror_stands_in(start_daemon: Callable[..., Daemon], own_site: CondaSite) -> None:
    official = "http://127.0.0.1:1/conda-forge"
    settings = own_site.settings(
        channel_alias="http://127.0.0.1:1", mirrors={official: [f"{own_site.server.url}/bioconda"]}
    )
    node = start_daemon(settings=settings)
    answer = ask(node, "samtools=1.17")
    assert done(node, answer["requestId"])["succeeded"] is True
    lock = conda_asks.lock(node, answer["buildId"])
    assert f"{official}/linux-64/samtools-1.17" in lock
    assert own_site.server.url not in lock


def test_the_image_is_the_channels_not_the_mirrors(
    start_daemon: Callable[..., Daemon], own_site: CondaSite, conda_node: Daemon, conda_site: CondaSite
) -> None:
    official = conda_site.server.channel(conda_asks.CHANNEL)
    mirrors = {official: [f"{own_site.server.url}/bioconda"]}
    node = start_daemon(settings=conda_site.settings(mirrors=mirrors))
    assert digest(node, made(node, "bwa=0.7.18")) == digest(conda_node, made(conda_node, "bwa=0.7.18"))
    assert own_site.server.count("bwa-0.7.18") == 1
    assert nextflow.manifest_path(made(node, "bwa=0.7.18"))
