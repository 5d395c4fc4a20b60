"""Container requests that this node knows: looked up among the records, with what only this node keeps beside them."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import msgspec
from cachetools import LRUCache

from wavelet.cluster.records import Lifetimes, Records, Stored
from wavelet.config import Apply, Settings
from wavelet.errors import TokenNotFound
from wavelet.plan.tokens import well_formed
from wavelet.requests.history import History, Outcome
from wavelet.requests.patience import Patience
from wavelet.requests.progress import Progress, State, Step
from wavelet.requests.request import About, ContainerRequest, localised
from wavelet.store.database import Database

SCHEMA = """
CREATE TABLE IF NOT EXISTS requests (token TEXT PRIMARY KEY, about BLOB, at REAL) WITHOUT ROWID;
"""

IN_MEMORY = 20_000
BYTES = 64 * 1024 * 1024
TTL = 30.0
"""Seconds after which a request in memory is looked up again: another node may have evicted it."""


@dataclass(frozen=True, slots=True)
class Status:
    """A request, how far it is, for how many seconds it has been worked on, and its steps."""

    request: ContainerRequest
    state: State
    seconds: float
    steps: tuple[Step, ...] = ()


@dataclass(slots=True)
class CachedRequest:
    """A request in memory, and how far it is; `size` is that of its record, in bytes."""

    request: ContainerRequest
    until: float
    size: int
    progress: Progress

    def status(self, state: State) -> Status:
        """Return the status of the request, which is in `state`."""
        return Status(self.request, state, self.progress.seconds, self.progress.steps)


def cost(known: CachedRequest) -> int:
    """Return the bytes that a request counts for: at least what leaves room for no more than `IN_MEMORY` of them."""
    return min(max(known.size, BYTES // IN_MEMORY), BYTES)


class RequestCache:
    """The requests of one node.

    Attributes:
        patience: for how long a request is tried again.
    """

    def __init__(
        self, records: Records, history: History, database: Database, patience: Patience, settings: Settings
    ) -> None:
        self.patience = patience
        self.configure(settings)()
        self._records = records
        self._history = history
        self._database = database
        self._known: LRUCache[str, CachedRequest] = LRUCache(BYTES, getsizeof=cost)

    def configure(self, settings: Settings) -> Apply:
        """See `Configurable`: how long a token lives after its last use."""

        def apply() -> None:
            self._lifetimes = Lifetimes.of(settings)

        return apply

    async def look_up(self, token: str) -> CachedRequest:
        """Return a request.

        Raises:
            TokenNotFound: nobody has made it, or it has expired.
        """
        known = self._known.get(token)
        if known is not None and known.until > time.monotonic():
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
        else:
            pin, expires_at = known.request.pin or stored.pin, self._expiry(stored)
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
        self._known.pop(token, None)

    def _expiry(self, stored: Stored) -> float:
        return self._lifetimes.after(stored.used_at, frozen=stored.record.is_frozen)

    def _from_record(self, token: str, stored: Stored) -> ContainerRequest:
        record = stored.record
        rows = self._database.read("SELECT about FROM requests WHERE token = ?", token)
        about = msgspec.json.decode(rows[0][0], type=About) if rows else None
        return ContainerRequest(
            token,
            localised(record.plan, token),
            record.principal,
            stored.created_at,
            self._expiry(stored),
            about,
            pin=stored.pin,
        )
