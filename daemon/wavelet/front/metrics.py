"""What the doors count."""

from __future__ import annotations

from prometheus_client import Counter, Histogram

REQUESTS = Counter("wavelet_requests_total", "Requests answered.", ["door", "kind", "status"])
SENT_BYTES = Counter(
    "wavelet_sent_bytes_total", "Bytes of blobs sent: from the `store`, or of a `growing` blob.", ["source"]
)
HELD = Histogram(
    "wavelet_held_seconds",
    "Time for which requests waited for their answer to be made.",
    ["kind"],
    buckets=(0.001, 0.01, 0.1, 1, 5, 30, 120, 600, 1200),
)
