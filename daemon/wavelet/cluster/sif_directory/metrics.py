"""The metrics of the directory of SIF files."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

FILES = Gauge("wavelet_sif_directory_files", "SIF files in sif.directory when it was last looked through.")
BYTES = Gauge("wavelet_sif_directory_bytes", "Bytes of SIF files in sif.directory when it was last looked through.")
PUBLISHED = Counter("wavelet_sif_directory_published_total", "SIF files that this node has written to sif.directory.")
EVICTIONS = Counter("wavelet_sif_directory_evictions_total", "SIF files that this node has removed from sif.directory.")
EVICTED_BYTES = Counter("wavelet_sif_directory_evicted_bytes_total", "Bytes of those files.")
