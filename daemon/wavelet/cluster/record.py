"""A container request as it is kept: the record and its form in bytes.

A record is small, holds no secret, and proves itself: whoever has the cluster's key computes its token from its
content, so that a keeper which others can write to may lose or hide a record but cannot invent or change a name.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

import msgspec

from wavelet.errors import InvalidRequest
from wavelet.plan import canonical
from wavelet.plan.canonical import Forms
from wavelet.plan.identity import Principal
from wavelet.plan.node import Node, written
from wavelet.plan.pinning import Pin
from wavelet.plan.tokens import asked_token, decided_token, undecided_token, well_formed
from wavelet.plan.view import View

FORM = 2
NEEDS = "0.2.0"
"""The version of wavelet that can read the form: what older ones, from this one on, tell their users."""

_NONCE = re.compile(r"[0-9a-f]{1,64}")


@dataclass(frozen=True, slots=True)
class Record:
    """A container request. With neither pin nor nonce it is one of a version before 0.2.

    Attributes:
        plan: as it was asked, before pins.
        principal: for whom its name is: everybody or a user, never a login.
        pin: what the plan was pinned to when the name was given; None: that was not known.
        nonce: what stands in the name in place of the pin.
        first: the name that equal requests with the same pin get instead, as it was given and bound before this one.
            It takes no part in the name: whoever uses it checks that it is of the same plan, principal and pin.
    """

    plan: Node
    principal: Principal
    pin: Pin | None = None
    nonce: str = ""
    first: str = ""

    def encode(self) -> bytes:
        """Return the bytes that are kept: a line with the principal, then the rest as JSON."""
        if self.pin is None and not self.nonce:
            return str(self.principal).encode() + b"\n" + canonical.encode(self.plan)
        document: dict[str, object] = {"version": FORM, "needs": NEEDS, "asked": written(self.plan, View.RECORD)}
        document |= {"nonce": self.nonce} if self.pin is None else {"pin": self.pin.encode(self.plan)}
        document |= {"first": self.first} if self.first else {}
        return str(self.principal).encode() + b"\n" + json.dumps(document, separators=(",", ":")).encode()

    @classmethod
    def decode(cls, data: bytes, forms: Forms) -> Record:
        """Read what `encode` wrote, and what versions before 0.2 did.

        Raises:
            NewerForm: a newer version has written it.
            InvalidRequest: it is something else.
        """
        head, _, body = data.partition(b"\n")
        principal = _read_principal(head)
        with canonical.reading("a record"):
            document = msgspec.json.decode(body)
            canonical.check_form(document, FORM)
            if int(document["version"]) != FORM:
                return cls(canonical.decode(body, forms), principal)
            plan = forms.read(document["asked"])
            if "pin" in document:
                first = document.get("first", "")
                pin = Pin.decode(document["pin"], plan, forms)
                return cls(plan, principal, pin, first=first if well_formed(first) else "")
            nonce = document["nonce"]
            if _NONCE.fullmatch(nonce) is None:
                raise ValueError(nonce)
            return cls(plan, principal, nonce=nonce)

    def token(self, key: bytes) -> str:
        """Return its name under the cluster's key."""
        if self.pin is not None:
            return decided_token(key, self.plan, self.pin, self.principal)
        if self.nonce:
            return undecided_token(key, self.plan, self.nonce, self.principal)
        return asked_token(key, self.plan, self.principal)


def _read_principal(head: bytes) -> Principal:
    try:
        principal = Principal.parse(head.decode("ascii"))
        if principal.login_key is None:
            return principal
    except ValueError:
        pass
    raise InvalidRequest("not a record: it does not begin with a principal")


def authenticate(token: str, data: bytes, key: bytes, forms: Forms) -> Record:
    """Read a kept record and check that it is the one its token names.

    Raises:
        NewerForm: a newer version's; nothing can be said of it.
        InvalidRequest: not a record, or another's.
    """
    record = Record.decode(data, forms)
    with canonical.reading("a record"):  # what reads well may yet be no plan
        named = record.token(key)
    if named != token:
        raise InvalidRequest("the record's content does not belong to its token")
    return record
