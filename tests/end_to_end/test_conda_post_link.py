"""Packages whose installation runs scripts: they run in the image, without a network, or there is a clear no."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from lab import conda_asks
from lab.conda_asks import CondaSite, ask, build_log, digest, done, files, layers, made
from lab.conda_channel import make_channel
from lab.conda_packages import Package, script
from lab.conda_scripts import bioconductor_data, bioconductor_table, data_tarball
from lab.daemon import Daemon
from lab.engines import Docker

pytestmark = pytest.mark.registry

CHANNELS = ("mine", conda_asks.CHANNEL)


@pytest.fixture
def with_data(own_site: CondaSite, tmp_path: Path) -> CondaSite:
    """Return a site with Bioconductor's kinds of data packages, whose tarballs the same server has."""
    (tmp_path / "data").mkdir()
    urls = {}
    for name in ("labdata", "labtable"):
        (tmp_path / f"data/{name}_1.0.tar.gz").write_bytes(data_tarball(name))
        urls[name] = f"{own_site.server.url}/data/{name}_1.0.tar.gz"
    place = own_site.server.host.replace(":", "/")
    call = f"#!/bin/bash\n(exec 3<>/dev/tcp/{place}) && said=reached || said=none\necho $said > $PREFIX/share/network\n"
    packages = [
        bioconductor_data(urls["labdata"], data_tarball("labdata")),
        *bioconductor_table(urls["labtable"], data_tarball("labtable")),
        Package("calls-out", files={"bin/.calls-out-post-link.sh": script(call)}),
    ]
    own_site.server.channels |= {"data": tmp_path / "data", "mine": make_channel(tmp_path / "mine", packages)}
    return own_site


@pytest.fixture(scope="module")
def scripted(conda_site: CondaSite, docker: Docker, tmp_path_factory: pytest.TempPathFactory) -> Daemon:
    """Return a daemon, not started, whose post-link scripts docker runs."""
    state = tmp_path_factory.mktemp("scripted") / "state"
    return Daemon(state, settings=conda_site.settings(engine="docker"), **docker.variables)  # type: ignore[arg-type]


@pytest.mark.docker
def test_a_script_runs_in_docker_and_its_work_is_a_layer(scripted: Daemon, docker: Docker) -> None:
    scripted.start()
    try:
        answer = ask(scripted, "post-link-tool", "which")
        assert done(scripted, answer["requestId"])["succeeded"] is True
        docker.pull(answer["targetImage"])
        said = docker.run(answer["targetImage"], "cat", "/opt/conda/share/post-linked")
        assert said == "post-link-tool 1.0 0\n"
        assert "post-link-tool" in build_log(scripted, answer["buildId"])
        why = reason(scripted, "post-link-fails")
        assert "post-link-fails" in why
        assert "no luck" in why
    finally:
        scripted.stop()


@pytest.fixture
def namespaced(start_daemon: Callable[..., Daemon], with_data: CondaSite) -> Daemon:
    """Return a daemon whose post-link scripts run in namespaces of the kernel alone."""
    return start_daemon(settings=with_data.settings(engine="namespace"))


def reason(node: Daemon, *entries: str, channels: tuple[str, ...] = (conda_asks.CHANNEL,)) -> str:
    """Ask for what cannot be made, and return why."""
    return conda_asks.why_not(node, conda_asks.post(node, *entries, channels=channels))


def test_data_packages_and_no_network(namespaced: Daemon, with_data: CondaSite) -> None:
    name = made(namespaced, "bioconductor-labdata", "bioconductor-labtable", "calls-out", channels=CHANNELS)
    found = files(layers(namespaced, name))
    assert found["opt/conda/lib/R/library/labdata/DESCRIPTION"] == b"Package: labdata\n"
    assert found["opt/conda/lib/R/library/labtable/DESCRIPTION"] == b"Package: labtable\n"
    assert found["opt/conda/share/network"] == b"none\n"
    assert not [path for path in found if path.endswith(".tar.gz")]
    assert with_data.server.count("labdata_1.0.tar.gz") == 1
    with_data.server.off()
    expected = digest(namespaced, name)
    again = ask(namespaced, "bioconductor-labdata", "bioconductor-labtable", "calls-out", channels=CHANNELS)
    assert again["succeeded"] is True
    assert digest(namespaced, again["targetImage"]) == expected


def test_a_script_that_fails(namespaced: Daemon) -> None:
    why = reason(namespaced, "post-link-fails", "which")
    assert "post-link-fails" in why
    assert "no luck" in why
    pulled = namespaced.get("/v2/conda/post-link-fails/which/manifests/latest", Accept=conda_asks.ACCEPT)
    assert pulled.status == 400
    assert "no luck" in pulled.json()["errors"][0]["message"]


def test_data_that_is_gone(namespaced: Daemon, with_data: CondaSite) -> None:
    with_data.server.channels.pop("data")
    assert "labdata" in reason(namespaced, "bioconductor-labdata", channels=CHANNELS)


def test_a_node_that_may_run_nothing(start_daemon: Callable[..., Daemon], conda_site: CondaSite) -> None:
    node = start_daemon(settings=conda_site.settings(engine="none"))
    why = reason(node, "post-link-tool", "which")
    assert "post-link-tool" in why
    assert "engine" in why
    made(node, "which")


def test_what_scripts_did_is_shared(start_daemon: Callable[..., Daemon], conda_site: CondaSite, tmp_path: Path) -> None:
    shared = {"WAVELET_RECORDS_DIRECTORY": tmp_path / "records"}
    one = start_daemon(tmp_path / "one", settings=conda_site.settings(engine="namespace"), **shared)
    name = made(one, "post-link-tool")
    two = start_daemon(tmp_path / "two", settings=conda_site.settings(engine="none"), **shared)
    assert digest(two, made(two, "post-link-tool")) == digest(one, name)
    one.stop()
    again = made(two, "post-link-tool", config={"env": ["A=1"]})
    assert files(layers(two, again))["opt/conda/share/post-linked"] == b"post-link-tool 1.0 0\n"
