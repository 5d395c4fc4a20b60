"""A binding as it is kept: what a name answers that had to be given before that was known.

It is the first pin that any node has found, sealed under the cluster's key, and never changed.
"""

from __future__ import annotations

import hashlib
import hmac
import json

import msgspec

from wavelet.cluster.record import FORM, NEEDS
from wavelet.errors import DamagedBinding, InvalidRequest
from wavelet.plan import canonical
from wavelet.plan.canonical import Forms
from wavelet.plan.node import Node
from wavelet.plan.pinning import Pin


def seal_binding(token: str, pin: Pin, asked: Node, key: bytes, forms: Forms) -> bytes:
    """Return the bytes of a binding: a line with its seal, then the pin as JSON.

    Raises:
        InvalidRequest: it is not a pin of this plan.
    """
    with canonical.reading("a pin of this plan"):
        document = {"version": FORM, "needs": NEEDS, "pin": pin.encode(asked)}
    body = json.dumps(document, separators=(",", ":")).encode()
    sealed = _seal(token, body, key) + b"\n" + body
    open_binding(token, sealed, asked, key, forms)  # one that nobody can read would be the end of its name
    return sealed


def open_binding(token: str, data: bytes, asked: Node, key: bytes, forms: Forms) -> Pin:
    """Read what `seal_binding` wrote.

    Raises:
        NewerForm: a newer version's.
        InvalidRequest: not a binding, or another name's.
    """
    seal, _, body = data.partition(b"\n")
    if not hmac.compare_digest(seal, _seal(token, body, key)):
        raise InvalidRequest("the binding's content does not belong to its token")
    with canonical.reading("a binding"):
        document = msgspec.json.decode(body)
        canonical.check_form(document, FORM)
        return Pin.decode(document["pin"], asked, forms)


def _seal(token: str, body: bytes, key: bytes) -> bytes:
    return hmac.new(key, b"binding\0" + token.encode() + b"\0" + body, hashlib.sha256).hexdigest().encode()


def damaged_binding(token: str, why: str | None) -> DamagedBinding:
    """Return the error of a name whose binding cannot be read, and `why`: it is not known what it has answered."""
    return DamagedBinding(
        f"what the name {token} answers is damaged where requests are kept ({why}), so that nothing is answered under "
        "it any more; send the request again: it gets a new name"
    )
