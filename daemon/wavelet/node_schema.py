"""The tables of a node's own database, `node.db`: those of each module that keeps something there."""

from __future__ import annotations

from wavelet.host import liveness
from wavelet.kinds.conda.channels import index_files
from wavelet.kinds.conda.locks import shared_locks
from wavelet.kinds.registry_image import kind
from wavelet.kinds.sif.published import files
from wavelet.push import pushed_blobs
from wavelet.requests import history, request_cache, served
from wavelet.resolve import archives, events, layer_verifier, memo
from wavelet.store import content, scrub
from wavelet.upstream import grants

_MODULES = (
    content,
    scrub,
    memo,
    kind,
    grants,
    layer_verifier,
    request_cache,
    served,
    history,
    archives,
    events,
    index_files,
    shared_locks,
    liveness,
    pushed_blobs,
    files,
)
NODE_SCHEMA = "".join(module.SCHEMA for module in _MODULES)
