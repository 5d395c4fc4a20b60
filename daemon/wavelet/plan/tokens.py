"""Tokens: the names of container requests. A name is decided by what was asked and by what that was pinned to.

A token is an HMAC-SHA256 under the cluster's key, cut to 128 bits: it cannot be guessed without the key, and whoever
holds what it was made of and the key can check it. Equal requests with an equal pin have equal tokens on every node of
a cluster. Where the pin is not known in time, a nonce stands in its place. A token is pulled by
`<authority>/wt/<token>/<path>:<tag>`, where the label of the plan says path and tag.
"""

from __future__ import annotations

import hashlib
import hmac
import re

from wavelet.errors import InvalidName
from wavelet.plan.canonical import canonical
from wavelet.plan.identity import Principal
from wavelet.plan.node import Node
from wavelet.plan.pinning import Pin

KEY_BYTES = 32
NONCE_BYTES = 16

_TOKEN = re.compile(r"[0-9a-f]{32}")
_FORM = b"2"

_TOKEN_LENGTH = 32
_ENGINE_LIMIT = 255
"""Characters of host and repository path together that engines accept (distribution/reference, NameTotalLengthMax)."""


def decided_token(cluster_key: bytes, plan: Node, pin: Pin, principal: Principal) -> str:
    """Return the token, 32 hexadecimal digits, of a plan that is pinned."""
    return _token(cluster_key, b"pin " + pin.name.encode(), plan, principal)


def undecided_token(cluster_key: bytes, plan: Node, nonce: str, principal: Principal) -> str:
    """Return the token of a plan whose pin is not known; `nonce` is hexadecimal, and used for one name only."""
    return _token(cluster_key, b"nonce " + nonce.encode(), plan, principal)


def _token(cluster_key: bytes, decided_by: bytes, plan: Node, principal: Principal) -> str:
    # No part has a zero byte in it.
    message = b"\0".join((_FORM, decided_by, canonical(plan), str(principal).encode()))
    return hmac.new(cluster_key, message, hashlib.sha256).hexdigest()[:32]


def asked_token(cluster_key: bytes, plan: Node, principal: Principal) -> str:
    """Return the token that versions before 0.2 gave, by what was asked alone. It is read, and never given again."""
    message = canonical(plan) + b"\0" + str(principal).encode()
    return hmac.new(cluster_key, message, hashlib.sha256).hexdigest()[:32]


def well_formed(token: str) -> bool:
    """Tell whether `token` could be one of ours."""
    return _TOKEN.fullmatch(token) is not None


def pull_name(authority: str, token: str, plan: Node) -> str:
    """Return the name under which engines pull what a container request asks for."""
    return f"{authority}/wt/{token}/{plan.label.text}"


def check_length(authority: str, plan: Node) -> None:
    """Make sure that engines accept the name.

    Raises:
        InvalidName: with the token in front of it the repository's name is too long for them.
    """
    path = plan.label.path
    room = _ENGINE_LIMIT - len(f"{authority}/wt/{'0' * _TOKEN_LENGTH}/")
    if len(path) > room:
        raise InvalidName(
            f"containerImage: the repository path has {len(path)} characters; behind a token, container engines take "
            f"{room} at most, so pull this image by its own name",
            field="containerImage",
        )
