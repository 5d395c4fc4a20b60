"""The files of nextflow-config/: each parses, and what it names is what wavelet serves."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import yaml

from groups import program
from lab.processes import run
from wavelet import __version__
from wavelet.cli.setup.docker import HUB_ALONE
from wavelet.cli.user_daemon.exports import SIF_PATH
from wavelet.config import load
from wavelet.front import operations
from wavelet.front.registry.names import UpstreamName, parse_name
from wavelet.image.reference import Repository
from wavelet.paths import PORT

DIRECTORY = Path(__file__).parents[2] / "nextflow-config"
FILES = sorted(DIRECTORY.glob("*.config"))
ENDPOINT = f"http://127.0.0.1:{PORT}"
WITHOUT_WAVE = "interception.config"
SIF_FILES = {"apptainer.config", "singularity.config", "slurm-shared.config"}
"""Those whose answers are SIF files, beside that of `wavelet run`."""


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """Return what each file sets, by its name, as Groovy reads it."""
    groovy = program("groovy")
    assert groovy is not None
    script = Path(__file__).with_name("read.groovy")
    clean = {"PATH": os.environ["PATH"], "HOME": str(tmp_path_factory.mktemp("home"))}
    done = run([groovy, script, *FILES], environment=clean)
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for line in done.stdout.splitlines():
        name, key, value = line.split("\t")
        found[name][key] = value
    return dict(found)


@pytest.mark.groovy
def test_every_file_parses_and_turns_wave_on(settings: dict[str, dict[str, str]]) -> None:
    assert set(settings) == {path.name for path in FILES}
    on = {name: each["wave.enabled"] for name, each in settings.items()}
    assert on.pop(WITHOUT_WAVE) == "false"
    assert set(on.values()) == {"true"}


@pytest.mark.groovy
def test_without_wave_names_without_a_registry_are_the_daemons(settings: dict[str, dict[str, str]]) -> None:
    found = settings[WITHOUT_WAVE]
    assert found == {"wave.enabled": "false", "docker.enabled": "true", "docker.registry": f"127.0.0.1:{PORT}/quay.io"}
    # As Nextflow puts it in front of a name without a registry.
    name = f"{found['docker.registry']}/biocontainers/samtools".partition("/")[2]
    assert parse_name(name, None, reserved=True) == UpstreamName(Repository("quay.io", "biocontainers/samtools"))
    assert f"docker.registry = '{found['docker.registry']}'" in HUB_ALONE.format(authority=f"127.0.0.1:{PORT}")


@pytest.mark.groovy
def test_every_endpoint_is_the_daemons(settings: dict[str, dict[str, str]]) -> None:
    endpoints = {name: each.get("wave.endpoint") for name, each in settings.items()}
    # `wavelet run` exports the endpoint of a user's own daemon: a file that names one would override it.
    assert endpoints.pop("slurm-user.config") is None
    assert endpoints.pop("slurm-pull.config") is None
    assert endpoints.pop(WITHOUT_WAVE) is None
    assert {name for name, endpoint in endpoints.items() if endpoint == f"{ENDPOINT}{SIF_PATH}"} == SIF_FILES
    assert {endpoint for name, endpoint in endpoints.items() if name not in SIF_FILES} == {ENDPOINT}


@pytest.mark.groovy
def test_every_rate_is_higher_than_one_a_second(settings: dict[str, dict[str, str]]) -> None:
    rates = {each.get("wave.httpClient.maxRate") for name, each in settings.items() if name != WITHOUT_WAVE}
    assert rates == {"50/1sec"}


@pytest.mark.groovy
def test_modules_name_images_that_wave_can_add_to(settings: dict[str, dict[str, str]]) -> None:
    for_sif = [name for name, each in settings.items() if {"apptainer.enabled", "singularity.enabled"} & each.keys()]
    assert len(for_sif) == 8
    for name in for_sif:
        assert settings[name]["process.ext.singularity_pull_docker_container"] == "true"
        # Nextflow up to 25.04 makes an option of it that `pull` does not know.
        assert not any(key.endswith(".noHttps") for key in settings[name])


@pytest.mark.groovy
def test_where_sif_files_are_answered_nothing_pulls_in_a_task(settings: dict[str, dict[str, str]]) -> None:
    for name in (*SIF_FILES, "slurm-user.config"):
        assert not any(key.endswith((".ociAutoPull", ".ociMode", ".runOptions")) for key in settings[name])
        assert "wavelet ensure" not in settings[name].get("process.beforeScript", "")


def test_what_the_shared_directorys_comment_sets_are_settings(tmp_path: Path) -> None:
    lines = (DIRECTORY / "slurm-shared.config").read_text().splitlines()
    path = tmp_path / "config.yaml"
    path.write_text("\n".join(line.removeprefix("//   ") for line in lines if re.match(r"//   ( |\w+:)", line)))
    settings = load(path, {}, {})
    assert (settings.sif.directory, settings.records.directory) == ("/shared/wavelet/sif", "/shared/wavelet")


def test_the_daemon_set_is_one_of_this_version() -> None:
    kinds = {each["kind"]: each for each in _documents()}
    assert set(kinds) == {"Namespace", "ConfigMap", "DaemonSet", "PersistentVolumeClaim"}
    container = _container(kinds["DaemonSet"])
    assert container["image"].endswith(f"/wavelet:{__version__}")
    assert {"containerPort": PORT, "hostPort": PORT, "protocol": "TCP"} in container["ports"]
    mounted = {mount["mountPath"] for mount in container["volumeMounts"]}
    assert {"/etc/wavelet", "/var/lib/wavelet", "/var/lib/wavelet-records", "/tmp"} <= mounted


def test_the_daemon_sets_probes_are_routes_of_the_daemon() -> None:
    from aiohttp import web

    app = web.Application()
    operations.add_routes(app)
    routes = {resource.canonical for resource in app.router.resources()}
    container = _container(next(each for each in _documents() if each["kind"] == "DaemonSet"))
    probes = {container[name]["httpGet"]["path"] for name in ("readinessProbe", "livenessProbe")}
    assert probes <= routes


def test_the_daemon_sets_settings_are_settings(tmp_path: Path) -> None:
    config_map = next(each for each in _documents() if each["kind"] == "ConfigMap")
    path = tmp_path / "config.yaml"
    path.write_text(config_map["data"]["config.yaml"])
    settings = load(path, {}, {})
    assert settings.name_authority == f"127.0.0.1:{PORT}"


def _documents() -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((DIRECTORY / "kubernetes-daemonset.yaml").read_text()))


def _container(daemon_set: dict[str, Any]) -> dict[str, Any]:
    (container,) = daemon_set["spec"]["template"]["spec"]["containers"]
    return dict(container)
