"""Records of container requests: what one is, its form in bytes, and what every keeper of records promises.

A record is small, holds no secret, and proves itself: whoever has the cluster's key computes its token from its
content, so that a keeper which others can write to may lose or hide a record but cannot invent or change a name.

What a name answers is in its record, or, where the name had to be given before that was known, in its binding, which is
kept beside the record: the first pin that any node has found, sealed under the cluster's key, and never changed.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, Self

import msgspec

from wavelet.config import Settings
from wavelet.errors import DamagedBinding, DigestMismatch, InvalidRequest, TokenNotFound
from wavelet.image.reference import Digest
from wavelet.plan import canonical
from wavelet.plan.canonical import Forms, Pin
from wavelet.plan.node import INLINE, Node, View, layers, written
from wavelet.plan.tokens import Principal, asked_token, decided_token, undecided_token, well_formed
from wavelet.quantities import is_ahead

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

    @property
    def is_frozen(self) -> bool:
        """Whether its name is one of a frozen image in the nodes' own registry, and so lasts (`Lifetimes`)."""
        delivery = self.plan.delivery
        return delivery is not None and delivery.is_own

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


@dataclass(frozen=True, slots=True)
class Stored:
    """A record and its times, in unix seconds.

    Attributes:
        pin: what its name answers for good: the record's own pin, or what the name was bound to; None: nothing yet, as
            far as this node knows.
    """

    record: Record
    created_at: float
    used_at: float
    pin: Pin | None = None


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """For how many seconds records are kept after their last use: the usual ones, and those of frozen images."""

    usual: float
    frozen: float

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Return what the settings say."""
        return cls(settings.records.lifetime, settings.freeze.lifetime)

    @property
    def longest(self) -> float:
        """The longer of both."""
        return max(self.usual, self.frozen)

    def after(self, used_at: float, *, frozen: bool) -> float:
        """Return when a record is past its lifetime that was last used at a time, in unix seconds."""
        return used_at + (self.frozen if frozen else self.usual)


class Records(Protocol):
    """A keeper of records. All methods are safe to call at once, from several nodes where the place is shared."""

    async def get(self, token: str, *, patient: bool = True) -> Stored | None:
        """Return the record, or None: unknown, past its lifetime since its last use, or not authentic (then logged).

        A patient look waits for what another node may have written just now; it is for names that somebody was given,
        who is told why one answers nothing. Any other look is for a name that could be given, and that is none to give.

        Raises:
            NewerForm: on a patient look, a record or binding that a newer version has made.
            DamagedBinding: on a patient look, what the name was bound to is not authentic.
        """

    async def put(self, record: Record, inline: Mapping[Digest, bytes]) -> str:
        """Keep a record with the bytes of its inline layers and return its token; power loss does not undo it.

        Putting it again is a use. The first writer's record stays; inline layers that it lacks are added.

        Raises:
            InvalidRequest: an inline layer without bytes, or bytes that the plan does not name.
            DigestMismatch: bytes that do not have their digest.
        """

    async def bind(self, token: str, pin: Pin) -> Pin:
        """Bind a name without a pin to `pin` unless it is bound already; return what it is bound to, durably.

        However many nodes do it at the same moment, all get the same.

        Raises:
            TokenNotFound: there is no such record.
            NewerForm, DamagedBinding: as `get` has them.
            InvalidRequest: it is not a pin of what was asked under the name.
            WaveletError: what the name is bound to cannot be written, or read. Then nobody may answer it.
        """

    async def inline(self, token: str, digest: Digest) -> bytes | None:
        """Return the verified bytes of an inline layer, or None if they are not there."""

    async def touch(self, token: str) -> None:
        """Count a use. Uses in quick succession count once."""

    async def evict(self, token: str) -> bool:
        """Forget a record and its layers; tell whether it was there."""

    async def frozen(self) -> Sequence[str]:
        """Return the tokens of all records of frozen images whose names last, in any order. It may take a while."""


def not_found(token: str) -> TokenNotFound:
    """Return the error of a name that is to be bound and has no record."""
    return TokenNotFound(f"no container request is known under {token[:80]!r}; send the request again")


def used_last(created_at: float, used_at: float, now: float) -> float | None:
    """Return when a record was used last, as far as its times tell that; None if they tell nothing, all unix seconds.

    A use that a clock noted which was ahead, on whatever node, is not known; that it was made is.
    """
    if not is_ahead(used_at, now):
        return used_at
    return None if is_ahead(created_at, now) else created_at


def check_named(record: Record, inline: Mapping[Digest, bytes]) -> None:
    """Check that a record comes with the bytes of its inline layers, and with those of no others than its own.

    Raises:
        InvalidRequest: see `Records.put`.
    """
    named = {layer.digest for layer in layers(record.plan)}
    # What only says which other name to give has no use for bytes.
    mine = () if record.first else layers(record.plan)
    needed = {layer.digest for layer in mine if layer.location == INLINE}
    if lacking := needed - inline.keys():
        raise InvalidRequest(f"the inline layer {min(lacking)} comes without its bytes")
    if foreign := inline.keys() - named:
        raise InvalidRequest(f"there are bytes for {min(foreign)}, which is no layer of the request")


def check_bytes(inline: Mapping[Digest, bytes]) -> None:
    """Check the bytes of inline layers. It hashes: not for the event loop.

    Raises:
        DigestMismatch: see `Records.put`.
    """
    for digest, content in inline.items():
        if not holds(digest, content):
            raise DigestMismatch(f"the bytes of the inline layer {digest} do not have this digest")


def holds(digest: Digest, content: bytes) -> bool:
    """Tell whether `content` has the digest."""
    return Digest.of(content, digest.algorithm) == digest
