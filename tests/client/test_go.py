"""Every call by a client in another language: Go code, generated from the protos on the spot."""

from __future__ import annotations

import importlib.resources
import json
import shutil
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from groups import program
from lab import images
from lab.grpc_site import Site
from lab.processes import run
from wavelet.v1 import cache_pb2, conda_pb2, containers_pb2, daemon_pb2, images_pb2

pytestmark = [pytest.mark.registry, pytest.mark.conda, pytest.mark.go]

HERE = Path(__file__).parent
PROTOS = HERE.parents[1] / "protos"
PACKAGE = "example.org/engine"
BUILD_SECONDS = 110.0


def build(directory: Path) -> Path:
    """Generate code from the protos, and make a program of it and main.go."""
    shutil.copytree(HERE / "go", directory)
    names = sorted(str(path.relative_to(PROTOS)) for path in PROTOS.rglob("*.proto"))
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{PROTOS}"]
    command.append(f"-I{importlib.resources.files('grpc_tools') / '_proto'}")
    for kind in ("go", "go-grpc"):
        command += [f"--plugin=protoc-gen-{kind}={program(f'protoc-gen-{kind}')}", f"--{kind}_out={directory}"]
        command.append(f"--{kind}_opt=module={PACKAGE}")
        command += [f"--{kind}_opt=M{name}={PACKAGE}/v1" for name in names]
    run([*command, *names])
    run([program("go") or "go", "-C", directory, "build", "-o", "client", "."], seconds=BUILD_SECONDS)
    return directory / "client"


def test_every_call_in_go(site: Site, tmp_path: Path) -> None:
    given = {
        "user": f"{site.node.state}/wavelet.sock",
        "admin": f"{site.node.state}/admin.sock",
        "image": site.image,
        "missing": f"{site.registry.host}/lab/absent:1",
        "spec": "samtools=1.17",
        "registry": site.private.host,
        "username": "ann",
        "secret": "secret",
    }
    printed = run([build(tmp_path / "go")], text=json.dumps(given)).stdout
    told: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for line in map(json.loads, printed.splitlines()):
        told[line.pop("call")].append(line)
    missing = told.pop("Missing")[0]
    assert missing["code"] == "NotFound"
    assert (missing["details"]["reason"], missing["details"]["fault"]) == ("IMAGE_NOT_FOUND", "caller")
    assert [line for lines in told.values() for line in lines if "code" in line] == []
    assert told.keys() == {
        method.name
        for proto in (cache_pb2, conda_pb2, containers_pb2, daemon_pb2, images_pb2)
        for service in proto.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    }
    answers = {call: lines[-1]["answer"] for call, lines in told.items()}
    name = answers["Resolve"]["targetImage"]
    assert answers["Watch"]["ready"]["targetImage"] == name
    assert answers["Describe"]["container"]["token"] == answers["Resolve"]["token"]
    assert answers["ListRequests"]["requests"][0]["token"] == answers["Resolve"]["token"]
    assert answers["Prefetch"]["digest"] == answers["Inspect"]["digest"] == site.busybox.digest
    assert [package["name"] for package in answers["Solve"]["packages"]] == ["htslib", "samtools"]
    assert images.sha256(site.busybox.document) in {line["answer"]["digest"] for line in told["List"]}
    assert answers["ListLogins"]["logins"][0]["username"] == "ann"
    assert answers["Pin"] == answers["Unpin"]
    assert answers["Status"]["authority"] == site.node.authority
