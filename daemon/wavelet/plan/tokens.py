"""Tokens: the names of container requests. Equal requests have equal tokens on every node of a cluster.

A token is an HMAC-SHA256 over the canonical plan and the principal under the cluster's key, cut to 128 bits: it cannot
be guessed without the key, and whoever holds plan, principal and key can check it.
"""

from __future__ import annotations

import hashlib
import hmac
import re

from wavelet.plan.canonical import canonical
from wavelet.plan.plan import Plan

KEY_BYTES = 32
_TOKEN = re.compile(r"[0-9a-f]{32}")

ANONYMOUS = "anonymous"
"""The principal of content that everyone may read; others are `uid:<number>`."""


def token_of(cluster_key: bytes, plan: Plan, principal: str) -> str:
    """Return the token, 32 hexadecimal digits."""
    message = canonical(plan) + b"\0" + principal.encode()
    return hmac.new(cluster_key, message, hashlib.sha256).hexdigest()[:32]


def well_formed(token: str) -> bool:
    """Tell whether `token` could be one of ours."""
    return _TOKEN.fullmatch(token) is not None
