"""Where both kinds of client say that a SIF is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from doubles.grpc_daemon import GrpcDaemon
from lab.grpc_site import Run, awaiting, blocking
from wavelet.v1.daemon_pb2 import StatusResponse

DIGEST = "sha256:" + "0" * 64


@pytest.fixture
def server(tmp_path: Path) -> Iterator[GrpcDaemon]:
    with GrpcDaemon(tmp_path) as running:
        yield running


@pytest.mark.parametrize("run", [blocking, awaiting])
@pytest.mark.parametrize(
    ("address", "image", "platform", "url"),
    [
        ("127.0.0.1:9090", "node:80/wt/0/lab/a:1", "", "http://127.0.0.1:9090/sif/wt/0/lab/a:1.sif"),
        ("0.0.0.0:9090", "conda/samtools", "", "http://127.0.0.1:9090/sif/conda/samtools:latest.sif"),
        ("[::]:9090", f"quay.io/a/b@{DIGEST}", "", f"http://[::1]:9090/sif/quay.io/a/b@{DIGEST}.sif"),
        ("10.0.0.1:80", "ubuntu:24.04", "linux/arm64", "http://10.0.0.1:80/sif/ubuntu:24.04--linux-arm64.sif"),
    ],
)
def test_where_it_is(server: GrpcDaemon, run: Run, address: str, image: str, platform: str, url: str) -> None:
    server.answers["Status"] = [[StatusResponse(address=address, authority="node:80")]]

    def ask(client: Any) -> Any:
        return client.sif_url(image, platform=platform)

    assert run(ask, server.target) == url
