"""The names, types, labels and help of all metrics, and the outcomes of requests to other servers."""

from __future__ import annotations

from prometheus_client import REGISTRY
from prometheus_client.metrics import MetricWrapperBase

from documented.wire import golden, import_everything
from wavelet.upstream.transport import outcome_of


def test_metrics() -> None:
    import_everything()
    found = {
        family.name: {"type": family.type, "labels": list(metric._labelnames), "help": family.documentation}
        for metric in set(REGISTRY._names_to_collectors.values())
        if isinstance(metric, MetricWrapperBase)
        for family in metric.describe()
        if family.name.startswith("wavelet_")
    }
    assert found == golden("metrics")


def test_outcomes() -> None:
    """Values of `wavelet_upstream_requests_total{outcome=…}`."""
    words = {200: "ok", 307: "ok", 401: "refused", 403: "refused", 404: "not_found", 408: "busy", 429: "busy"}
    words |= {410: "broken", 500: "busy", 503: "busy"}
    assert {status: outcome_of(status) for status in words} == words
