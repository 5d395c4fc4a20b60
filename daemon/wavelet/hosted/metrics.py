"""The metrics of hosted repositories."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

HOSTED_BYTES = Gauge("wavelet_hosted_bytes", "Bytes of what was pushed to this node and is kept.")
RECEIVED_BYTES = Counter("wavelet_hosted_received_bytes_total", "Bytes of blobs and manifests that were pushed.")
UPLOADS = Counter(
    "wavelet_hosted_uploads_total",
    "Uploads of blobs that have ended: `kept`; `mounted`, without bytes; `refused`, for their digest or for want of"
    " room; `cancelled`, or left alone.",
    ["outcome"],
)
for _outcome in ("kept", "mounted", "refused", "cancelled"):
    UPLOADS.labels(_outcome)
