"""What metrics call the requests to the door: `wavelet_requests_total{door="wave",kind=…}`, by method and path."""

from __future__ import annotations

from typing import Any

import pytest
from prometheus_client import REGISTRY

KINDS = {
    "POST /v1alpha2/container": "submit",
    "POST /container-token": "submit_v1",
    "GET /v1alpha2/container/x": "describe_container",
    "GET /v1alpha2/container/x/status": "container_status",
    "GET /container-token/x": "describe_token",
    "DELETE /container-token/x": "evict_token",
    "GET /v1alpha1/builds/x": "describe_build",
    "GET /v1alpha1/builds/x/status": "build_status",
    "GET /v1alpha1/builds/x/logs": "build_log",
    "GET /v1alpha1/builds/x/condalock": "build_lock",
    "POST /v1alpha1/inspect": "inspect",
    "POST /v1alpha2/inspect": "inspect",
    "POST /v1alpha2/validate-creds": "validate_credentials",
    "POST /validate-creds": "validate_credentials",
    "GET /view/containers/x": "view_container",
    "GET /view/builds/x": "view_build",
    "GET /service-info": "_service_info",
    "GET /": "_front_page",
    "GET /robots.txt": "_robots",
    "GET /favicon.ico": "_no_icon",
}


def counted() -> dict[str, float]:
    """Return how many requests to the door were answered, by their kind."""
    found: dict[str, float] = {}
    for family in REGISTRY.collect():
        for sample in family.samples:
            if sample.name == "wavelet_requests_total" and sample.labels["door"] == "wave":
                found[sample.labels["kind"]] = found.get(sample.labels["kind"], 0.0) + sample.value
    return found


@pytest.mark.parametrize("asked", KINDS)
async def test_what_a_request_is_counted_as(door: Any, asked: str) -> None:
    before = counted()
    async with door.client.request(*asked.split(), data=b"{}") as response:
        await response.read()
    assert {kind for kind, count in counted().items() if count > before.get(kind, 0.0)} == {KINDS[asked]}
