"""Container requests that this node knows: looked up among the records, with what only this node keeps beside them."""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass, replace

import msgspec

from wavelet.cluster.records import Records, Stored
from wavelet.errors import TokenNotFound
from wavelet.image.digest import Digest
from wavelet.plan.pinning import Pin
from wavelet.plan.plan import Plan
from wavelet.plan.principal import Principal
from wavelet.plan.tokens import well_formed
from wavelet.requests.history import Entry, History, Outcome, Why
from wavelet.requests.naming import localised
from wavelet.requests.patience import Patience
from wavelet.requests.progress import Progress
from wavelet.store.database import Database

SCHEMA = """
CREATE TABLE IF NOT EXISTS requests (token TEXT PRIMARY KEY, about BLOB, at REAL) WITHOUT ROWID;
"""

SOLVED_ANEW = (
    "the packages were solved for anew and are others than before: this is a new name, and the one before goes on "
    "answering what it did"
)
SOLVING_ANEW = (
    "the packages are being solved for anew, so that this is a new name; those before go on answering what they did"
)
"""Notes on a request that was to have its packages solved for anew: it was, or it takes longer than a POST waits."""

IMAGE_LIMIT = 500
"""Characters of what a request asked for that the history has."""

IN_MEMORY = 20_000
BYTES = 64 * 1024 * 1024
TTL = 30.0
"""Seconds after which a request in memory is looked up again: another node may have evicted it."""


def answer_name(token: str) -> str:
    """Return the name under which `ServedImages` keeps what a token has answered."""
    return f"wt/{token}"


class About(msgspec.Struct, frozen=True, kw_only=True):
    """Facts about a request that the node which got it shows again. They take no part in names.

    Attributes:
        notes: what was asked for and has no effect here, or another one than it says.
    """

    api: str
    image: str
    fingerprint: str | None = None
    timestamp: str | None = None
    address: str = ""
    notes: tuple[str, ...] = ()

    def noting(self, note: str) -> About:
        """Return the same with another note."""
        return msgspec.structs.replace(self, notes=(*self.notes, note))


@dataclass(frozen=True, slots=True)
class ContainerRequest:
    """A request as it is known on this node; times in unix seconds.

    Attributes:
        plan: as it was asked.
        pin: what its name answers for good; None: that is not known yet.
    """

    token: str
    plan: Plan
    principal: Principal
    created_at: float
    expires_at: float
    about: About | None = None
    source_digest: Digest | None = None
    made_digest: Digest | None = None
    pin: Pin | None = None

    @property
    def fixed(self) -> Plan | None:
        """What its name answers, as a plan of which nothing moves."""
        return None if self.pin is None else self.pin.fix(self.plan)


@dataclass(slots=True)
class CachedRequest:
    """A request in memory, and how far it is; `size` is that of its record, in bytes."""

    request: ContainerRequest
    until: float
    size: int
    progress: Progress


class RequestCache:
    """The requests of one node.

    Attributes:
        lifetime: of a token since its last use, in seconds; may be set at any time.
        patience: for how long a request is tried again.
    """

    def __init__(
        self, records: Records, history: History, database: Database, patience: Patience, *, lifetime: float
    ) -> None:
        self.lifetime = lifetime
        self.patience = patience
        self._records = records
        self._history = history
        self._database = database
        self._known: OrderedDict[str, CachedRequest] = OrderedDict()
        self._bytes = 0

    async def look_up(self, token: str) -> CachedRequest:
        """Return a request.

        Raises:
            TokenNotFound: nobody has made it, or it has expired.
        """
        known = self._known.get(token)
        if known is not None and known.until > time.monotonic():
            self._known.move_to_end(token)
            return known
        stored = await self._records.get(token) if well_formed(token) else None
        if stored is None:
            self.forget(token)
            raise TokenNotFound(
                f"no container request has the token {token[:64]!r}: it was never made, has expired or was forgotten; "
                "send it again"
            )
        known = self._known.get(token)  # whoever has looked it up at the same moment knows how far it is
        if known is None:
            progress = self._restored(token, self._history.outcome(token))
            known = CachedRequest(self._from_record(token, stored), 0.0, len(stored.record.encode()), progress)
            self._known[token] = known
            self._bytes += known.size
            while len(self._known) > IN_MEMORY or self._bytes > BYTES:
                self._bytes -= self._known.popitem(last=False)[1].size
        else:
            pin, expires_at = known.request.pin or stored.pin, stored.used_at + self.lifetime
            known.request = replace(known.request, pin=pin, expires_at=expires_at)
        known.until = time.monotonic() + TTL
        return known

    def progress(self, token: str, outcome: Outcome | None) -> Progress:
        """Return how far a request is: what is in memory, else what `outcome` says of earlier."""
        known = self._known.get(token)
        return self._restored(token, outcome) if known is None else known.progress

    def _restored(self, token: str, outcome: Outcome | None) -> Progress:
        return Progress.restored(outcome, lambda each: self._history.settle(token, each), self.patience)

    def describe(self, known: CachedRequest, about: About) -> None:
        """Keep what the first one who has asked for a request here says about it, and the notes on the last one."""
        first = known.request.about
        if first is None or first.notes != about.notes:
            about = about if first is None else msgspec.structs.replace(first, notes=about.notes)
            known.request = replace(known.request, about=about)
            row = (known.request.token, msgspec.json.encode(about), time.time())
            self._database.write_later("INSERT OR REPLACE INTO requests VALUES (?, ?, ?)", *row)

    def forget(self, token: str) -> None:
        """Take a request out of memory."""
        known = self._known.pop(token, None)
        self._bytes -= 0 if known is None else known.size

    def _from_record(self, token: str, stored: Stored) -> ContainerRequest:
        record = stored.record
        rows = self._database.read("SELECT about FROM requests WHERE token = ?", token)
        about = msgspec.json.decode(rows[0][0], type=About) if rows else None
        return ContainerRequest(
            token,
            localised(record.plan, token),
            record.principal,
            stored.created_at,
            stored.used_at + self.lifetime,
            about,
            pin=stored.pin,
        )


def notes_of(request: ContainerRequest) -> str:
    """Return the notes on a request as lines of its log."""
    return "".join(f"note: {note}\n" for note in (request.about.notes if request.about else ()))


def entry_of(about: About, uid: int | None, token: str, refused: Why | None = None) -> Entry:
    """Return what the history has of a request that a user makes now."""
    return Entry(
        token=token,
        uid=uid,
        door=about.api,
        image=about.image[:IMAGE_LIMIT],
        at=time.time(),
        notes=about.notes,
        refused=refused,
    )
