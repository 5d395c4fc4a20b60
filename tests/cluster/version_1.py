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
TOKEN = re.compile(r"[0-9a-f]{32}")
PLACES = {"blobs", "claims", "cluster.key"}
"""What version 1 knows of at the top, besides directories of two digits."""


def record(root: Path, token: str, key: bytes) -> str | None:
    """Return the principal of a record if version 1 takes it for authentic; else None, and the token is unknown."""
    path = root / token[:2] / token
    if not path.is_file():
        return None
    time, _, data = path.read_bytes().partition(b"\n")
    try:
        float(time)
    except ValueError:
        return None
    return authentic(data, token, key)


def authentic(data: bytes, token: str, key: bytes) -> str | None:
    """Return the principal of what a file or a row has, if version 1 takes it for authentic."""
    principal, _, body = data.partition(b"\n")
    try:
        document = json.loads(body)
        if document["version"] != 1 or not PRINCIPAL.fullmatch(principal.decode()):
            return None
    except (ValueError, KeyError):
        return None
    name = _write({"version": 1, "plan": _named(document["plan"])}) + b"\0" + principal
    proof = hmac.new(key, name, hashlib.sha256).hexdigest()[:32]
    return principal.decode() if proof == token else None


def refusal(data: bytes) -> str:
    """Return what version 1 tells whoever asks for a record of a newer form; nothing of other records."""
    principal, _, body = data.partition(b"\n")
    if not PRINCIPAL.fullmatch(principal.decode("ascii", "replace")):
        return ""
    form = int(json.loads(body)["version"])
    if form <= 1:
        return ""
    return (
        f"it was made by a newer wavelet (form {form}; this one reads up to form 1); bring this node to the version of"
        " the others"
    )


def expire(root: Path, now: float, lifetime: float) -> int:
    """Remove what version 1 takes for past its lifetime, or for left by a crash; return how many records."""
    expired = 0
    for path in sorted(root.glob("??/*")):
        if path.is_dir():
            continue
        age, (token, dot, _) = now - path.lstat().st_mtime, path.name.partition(".")
        if TOKEN.fullmatch(path.name):
            if age >= lifetime:
                path.unlink()
                expired += 1
        elif age >= 3600 and (path.name.endswith(".tmp") if not token else _is_left(path, token, dot)):
            path.unlink()
    return expired


def _is_left(path: Path, token: str, dot: str) -> bool:
    return bool(dot) and TOKEN.fullmatch(token) is not None and not path.with_name(token).exists()


def evict(root: Path, token: str) -> None:
    """Remove a record and all that lies beside it."""
    path = root / token[:2] / token
    path.unlink()
    for beside in path.parent.glob(f"{token}.*"):
        beside.unlink()


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
