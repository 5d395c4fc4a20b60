"""What the resolver counts: where content came from, and how much was fetched from whom."""

from __future__ import annotations

from prometheus_client import Counter

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

LOCATION = "location"
"""The label of layers that requests name by URL: as a host each could be another one."""
