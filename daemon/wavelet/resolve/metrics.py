"""The metrics of the resolver: where content came from, and how much was fetched from whom."""

from __future__ import annotations

from prometheus_client import Counter, Histogram

CONTENT = Counter(
    "wavelet_content_total",
    "Content opened: `hit` in the store, `joined` a running fetch, `fetched` from its source, `made` again.",
    ["outcome", "upstream"],
)
FETCHED_BYTES = Counter("wavelet_fetched_bytes_total", "Bytes of blobs fetched.", ["upstream"])
JOBS = Counter(
    "wavelet_jobs_total",
    "Work asked for: `started`, `joined`, or answered by a `remembered` failure.",
    ["kind", "outcome"],
)
WAITS = Histogram(
    "wavelet_wait_seconds",
    "Time for which requests waited for work.",
    buckets=(0.001, 0.01, 0.1, 1, 5, 30, 120, 600, 1200),
)

LOCATION = "location"
"""The label of layers that requests name by URL: as a host each could be another one."""
