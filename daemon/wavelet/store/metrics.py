"""The metrics of the store."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

STORE_BYTES = Gauge("wavelet_store_bytes", "Bytes of committed blobs.")
EVICTIONS = Counter("wavelet_store_evictions_total", "Blobs evicted.")
EVICTED_BYTES = Counter("wavelet_store_evicted_bytes_total", "Bytes of blobs evicted.")
DAMAGED = Counter("wavelet_store_damaged_total", "Blobs whose bytes on disk no longer had their digest.", ["found_by"])
SCRUBBED_BYTES = Counter("wavelet_store_scrubbed_bytes_total", "Bytes of blobs that were read to find damage.")
for _found_by in ("use", "scrub"):
    DAMAGED.labels(_found_by)
