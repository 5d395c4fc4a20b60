"""What the store counts."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

STORE_BYTES = Gauge("wavelet_store_bytes", "Bytes of committed blobs.")
EVICTIONS = Counter("wavelet_store_evictions_total", "Blobs evicted.")
EVICTED_BYTES = Counter("wavelet_store_evicted_bytes_total", "Bytes of blobs evicted.")
