"""The daemon as a process: start, stop, what it says about itself, and what it refuses to start on."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lab import images, nextflow
from lab.daemon import Daemon, environment
from lab.engines import Docker
from lab.http import request
from lab.processes import run
from lab.registry import PASSWORDS, Registry
from lab.users import User

SERVE = [sys.executable, "-m", "wavelet.cli.main", "serve"]


def refusal(*arguments: str | Path, **variables: str) -> str:
    """Return what `wavelet serve` says when it does not start."""
    done = run([*SERVE, *arguments], environment=environment(variables), seconds=20, check=False)
    assert done.returncode not in (0, None)
    assert "Traceback" not in done.stdout + done.stderr
    return done.stdout + done.stderr


def test_what_it_says_about_itself(daemon: Daemon) -> None:
    assert daemon.get("/healthz").status == 200
    assert daemon.get("/readyz").status == 200
    assert daemon.get("/v2/").status == 200
    assert daemon.get("/service-info").json()["serviceInfo"]["version"]
    metrics = daemon.get("/metrics")
    assert metrics.status == 200
    assert b"wavelet_" in metrics.body


def test_it_stops_when_told(daemon: Daemon) -> None:
    assert daemon.stop() == 0
    assert "Traceback" not in daemon.log()


def test_a_busy_port_names_its_owner(daemon: Daemon, tmp_path: Path) -> None:
    said = refusal("--listen", daemon.authority, "--state", tmp_path / "other")
    assert str(daemon.port) in said
    assert str(daemon.pid) in said


def test_a_state_directory_has_one_daemon(daemon: Daemon, free_port: int) -> None:
    said = refusal("--listen", f"127.0.0.1:{free_port}", "--state", daemon.state)
    assert str(daemon.state) in said


def test_an_unknown_setting_is_named(tmp_path: Path) -> None:
    path = tmp_path / "wavelet.yaml"
    path.write_text("store:\n  limmit: 5GB\n")
    said = refusal("--config", path, "--state", tmp_path / "state")
    assert "limmit" in said
    assert "limit" in said.replace("limmit", "")


def test_tls_on_the_plain_port_is_closed_at_once(daemon: Daemon) -> None:
    with socket.create_connection(("127.0.0.1", daemon.port), timeout=3) as connection:
        connection.sendall(bytes.fromhex("16030100c8010000c40303") + bytes(200))
        while connection.recv(4096):
            pass


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'"text"', b'{"containerImage": 5}', b'{"containerImage": "http://x/y"}', b"\xff\xfe"]
)
def test_a_bad_body_is_the_callers_fault(node: Daemon, body: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    answer = request("POST", f"{node.url}/v1alpha2/container", headers=headers, body=body)
    assert 400 <= answer.status < 500
    assert answer.json()["message"]


@pytest.mark.parametrize(
    "path", ["/v2/../../etc/passwd", "/v2/%2e%2e/%2e%2e/manifests/x", "/v2/a/manifests/..%2f..", "/v2//manifests/1"]
)
def test_a_path_with_tricks_is_the_callers_fault(node: Daemon, path: str) -> None:
    assert 300 <= node.get(path).status < 500


@pytest.mark.users
@pytest.mark.registry
@pytest.mark.docker
def test_a_daemon_of_an_ordinary_user(
    start_daemon: Callable[..., Daemon], start_registry: Callable[..., Registry], ann: User, bob: User, docker: Docker
) -> None:
    private = start_registry(accounts=("ann",))
    source = private.push("secret/mine", "1", images.busybox(images.layer({"mine": b"of ann\n"})))
    ann.log_in(private.host, "ann", PASSWORDS["ann"])
    node = start_daemon(ann.home.parent / "state", before=ann.prefix(), HOME=ann.home)
    cached = f"{node.authority}/{private.host.replace(':', '_')}/secret/mine:1"
    docker.pull(cached)
    assert docker.run(cached, "cat", "/mine") == "of ann\n"
    path = nextflow.manifest_path(cached)
    assert ann.get(node.url + path).status == 200
    refused = bob.get(node.url + path)
    assert refused.status in (401, 403)
    assert "secret" not in json.dumps(refused.json()["errors"][0].get("detail"))
    body = json.dumps(nextflow.body(containerImage=source)).encode()
    headers = {"Content-Type": "application/json"}
    asked = bob.request("POST", f"{node.url}/v1alpha2/container", headers=headers, body=body)
    assert asked.status in (401, 403)
    assert ann.name in asked.json()["message"] or str(ann.uid) in asked.json()["message"]
