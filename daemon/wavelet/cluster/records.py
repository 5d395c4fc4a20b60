"""Records: the container requests that nodes keep, each under its name, and what every keeper of them promises.

What a name answers is in its record, or, where the name had to be given before that was known, in its binding, which
is kept beside the record.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from wavelet.ages import is_ahead
from wavelet.cluster.record import Record
from wavelet.errors import DigestMismatch, InvalidRequest, TokenNotFound
from wavelet.image.digest import Digest
from wavelet.plan.layers import INLINE
from wavelet.plan.pinning import Pin
from wavelet.plan.tree import layers


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
