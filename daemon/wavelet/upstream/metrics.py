"""Counters of the requests to other servers, with a bounded number of label values."""

from __future__ import annotations

from prometheus_client import Counter

HOST_LIMIT = 64
"""Hosts that are counted by name; the names come from requests, so those after are counted together as `other`."""

REQUESTS = Counter(
    "wavelet_upstream_requests_total",
    "Requests to registries and other servers",
    ("host", "kind", "outcome"),
)

_named: set[str] = set()


def count(host: str, kind: str, outcome: str) -> None:
    """Count one request: `kind` is what was asked for, `outcome` how it ended (`ok`, `refused`, `busy`...)."""
    REQUESTS.labels(label_of(host), kind, outcome).inc()


def label_of(host: str) -> str:
    """Return the label under which a host is counted."""
    if host not in _named:
        if len(_named) >= HOST_LIMIT:
            return "other"
        _named.add(host)
    return host


def outcome_of(status: int) -> str:
    """Name the outcome that an HTTP status stands for."""
    if status < 400:
        return "ok"
    return {401: "refused", 403: "refused", 404: "not_found", 408: "busy", 429: "busy"}.get(
        status, "busy" if status >= 500 else "broken"
    )
