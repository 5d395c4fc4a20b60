"""The counters of the doors."""

from __future__ import annotations

from functools import cache

from prometheus_client import Counter

REQUESTS = Counter("wavelet_requests_total", "Requests answered.", ["door", "kind", "status"])
SENT_BYTES = Counter(
    "wavelet_sent_bytes_total", "Bytes of blobs sent: from the `store`, or of a `growing` blob.", ["source"]
)


@cache
def answered(door: str, kind: str, status: int) -> Counter:
    """Return the counter of answers of one kind; finding it anew each time costs more than counting."""
    return REQUESTS.labels(door, kind, status)
