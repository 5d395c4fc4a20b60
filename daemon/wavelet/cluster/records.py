"""Container requests as they are kept: the record, its form in bytes, and what every keeper of records promises.

A record is small, holds no secret, and proves itself: whoever has the cluster's key computes its token from its
content, so that a keeper which others can write to may lose or hide a record but cannot invent or change a name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from wavelet.ages import is_ahead
from wavelet.errors import DigestMismatch, InvalidRequest
from wavelet.image.digest import Digest
from wavelet.plan import canonical
from wavelet.plan.plan import INLINE, Plan, layers
from wavelet.plan.tokens import ANONYMOUS, token_of

_PRINCIPAL = re.compile(rf"{ANONYMOUS}|uid:\d{{1,10}}")


@dataclass(frozen=True, slots=True)
class Record:
    """A container request.

    Attributes:
        plan: as it was asked, before site rules and pins.
        principal: for whom its name is, `anonymous` or `uid:<number>`.
    """

    plan: Plan
    principal: str

    def encode(self) -> bytes:
        """Return the bytes that are kept: a line with the principal, then the plan."""
        return self.principal.encode() + b"\n" + canonical.encode(self.plan)

    @classmethod
    def decode(cls, data: bytes) -> Record:
        """Read what `encode` wrote.

        Raises:
            NewerForm: a newer version has written it.
            InvalidRequest: it is something else.
        """
        head, _, body = data.partition(b"\n")
        principal = head.decode("ascii", "replace")
        if _PRINCIPAL.fullmatch(principal) is None:
            raise InvalidRequest("not a record: it does not begin with a principal")
        try:
            return cls(canonical.decode(body), principal)
        except (AttributeError, RecursionError) as error:
            raise InvalidRequest(f"not a record: {error}") from None

    def token(self, key: bytes) -> str:
        """Return its name under the cluster's key."""
        return token_of(key, self.plan, self.principal)


@dataclass(frozen=True, slots=True)
class Stored:
    """A record and its times, in unix seconds."""

    record: Record
    created_at: float
    used_at: float


class Records(Protocol):
    """A keeper of records. All methods are safe to call at once, from several nodes where the place is shared."""

    async def get(self, token: str, *, patient: bool = True) -> Stored | None:
        """Return the record, or None: unknown, past its lifetime since its last use, or not authentic (then logged).

        A patient look waits for what another node may have written just now; it is for names that somebody was given.

        Raises:
            NewerForm: on a patient look, a record that a newer version has made.
        """

    async def put(self, record: Record, inline: Mapping[Digest, bytes]) -> str:
        """Keep a record with the bytes of its inline layers and return its token; power loss does not undo it.

        Putting it again is a use. The first writer's record stays; inline layers that it lacks are added.

        Raises:
            InvalidRequest: an inline layer without bytes, or bytes that the plan does not name.
            DigestMismatch: bytes that do not have their digest.
        """

    async def inline(self, token: str, digest: Digest) -> bytes | None:
        """Return the verified bytes of an inline layer, or None if they are not there."""

    async def touch(self, token: str) -> None:
        """Count a use. Uses in quick succession count once."""

    async def evict(self, token: str) -> bool:
        """Forget a record and its layers; tell whether it was there."""

    async def expire(self) -> int:
        """Forget what is past its lifetime; return how many records."""

    async def check(self) -> None:
        """Return if records can be read and written now, as far as can be told without doing so.

        Raises:
            WaveletError: they cannot, and why.
        """

    def keep_for(self, lifetime: float) -> None:
        """Count another lifetime, in seconds, from now on."""

    async def close(self) -> None:
        """Write what is waiting and let go of the place."""


def authenticate(token: str, data: bytes, key: bytes) -> Record:
    """Read a kept record and check that it is the one its token names.

    Raises:
        NewerForm: a newer version's; nothing can be said of it.
        InvalidRequest: not a record, or another's.
    """
    record = Record.decode(data)
    if record.token(key) != token:
        raise InvalidRequest("the record's content does not belong to its token")
    return record


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
    needed = {layer.digest for layer in layers(record.plan) if layer.location == INLINE}
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
