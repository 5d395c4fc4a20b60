"""How version 1 reads the shared directory, as rules of their own: what it makes of files that another version wrote.

This does not follow the code. It changes only when version 1 is no longer the one before.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from pathlib import Path
from typing import Any

PRINCIPAL = re.compile(r"anonymous|uid:\d{1,10}")
PLACES = {"blobs", "claims", "cluster.key"}
"""What version 1 knows of at the top, besides directories of two digits."""


def record(root: Path, token: str, key: bytes) -> str | None:
    """Return the principal of a record if version 1 takes it for authentic; else None, and the token is unknown."""
    path = root / token[:2] / token
    if not path.is_file():
        return None
    time, _, data = path.read_bytes().partition(b"\n")
    principal, _, body = data.partition(b"\n")
    try:
        float(time)
        document = json.loads(body)
        if document["version"] != 1 or not PRINCIPAL.fullmatch(principal.decode()):
            return None
    except (ValueError, KeyError):
        return None
    name = _write({"version": 1, "plan": _named(document["plan"])}) + b"\0" + principal
    proof = hmac.new(key, name, hashlib.sha256).hexdigest()[:32]
    return principal.decode() if proof == token else None


def claim(root: Path, name: str, key: bytes) -> bytes | None:
    """Return what a claim says, or None where version 1 finds none that is authentic."""
    hashed = hashlib.sha256(name.encode()).hexdigest()
    path = root / "claims" / hashed[:2] / hashed
    if not path.is_file():
        return None
    seal, _, data = path.read_bytes().partition(b"\n")
    proof = hmac.new(key, b"claim\0" + name.encode() + b"\0" + data, hashlib.sha256).hexdigest()
    return data if proof.encode() == seal else None


def _named(value: Any) -> Any:
    """Return what of a kept plan takes part in its name."""
    if isinstance(value, list):
        return [_named(each) for each in value]
    if not isinstance(value, dict):
        return value
    left_out = {"gzipSize", "location"} if "gzipDigest" in value else set()
    if "url" in value:
        left_out = {"size", "md5"} if "sha256" in value else {"size"}
    return {name: _named(each) for name, each in value.items() if name not in left_out}


def _write(document: Any) -> bytes:
    return json.dumps(document, separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode()
