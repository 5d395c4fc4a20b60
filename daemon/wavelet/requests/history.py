"""The history of requests: who asked for what, what was decided, and how it ended.

Of a request that was refused before it got a name there is an entry too, and nothing else.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self, TypeVar

import msgspec
from cachetools import LRUCache

from wavelet.errors import OurError, WaveletError
from wavelet.plan.node import Node
from wavelet.plan.tokens import Identity
from wavelet.requests.audit import Audit, decision_of
from wavelet.requests.request import About, ContainerRequest, Request, answer_name
from wavelet.store.database import Database

SCHEMA = """
CREATE TABLE IF NOT EXISTS outcomes (token TEXT PRIMARY KEY, outcome BLOB, at REAL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS entries (id TEXT, uid INTEGER, entry BLOB, at REAL, PRIMARY KEY (id, uid)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS entries_at ON entries (at);
"""

LIFETIME = 90 * 86400.0
"""Seconds for which an outcome, or an entry, is kept."""

ENTRIES_KEPT = 20_000
"""Entries that are kept; the oldest go first."""

GRAIN = 30.0
"""Seconds within which the same request of one user is written down once."""

LATELY_HELD = 1024

_NOBODY = -1

_K = TypeVar("_K")


class Why(msgspec.Struct, frozen=True, omit_defaults=True):
    """An error as kept: its reason (camel case), its message, the request's member at fault, whether it may pass."""

    kind: str
    message: str
    field: str | None = None
    passing: bool = False

    @classmethod
    def of(cls, error: WaveletError) -> Self:
        """Return what is kept of an error."""
        return cls(_kind(error), error.message, error.field, error.passing)

    @property
    def error(self) -> WaveletError:
        """The error again; one of a kind that is not known is the daemon's."""
        kind = next((each for each in _kinds(WaveletError) if _kind(each) == self.kind), OurError)
        error = kind.__new__(kind)
        WaveletError.__init__(error, self.message, field=self.field)
        error.passing = self.passing
        return error


class Outcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """How far a container request has come on this node.

    Attributes:
        asked_at: when it was last asked for, in unix seconds.
        took: seconds until it was ready; None if it is not.
        why: what has gone wrong last, if something has.
        step: the step of the request in which that was; empty for the first one.
        lost_after: seconds after `asked_at` at which it has failed for good, or will have; None: nothing went wrong.
    """

    asked_at: float
    took: float | None = None
    why: Why | None = None
    step: str = ""
    lost_after: float | None = None


class Entry(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What one user has asked for.

    Attributes:
        token: of the container request; empty where it was refused before it could have one.
        uid: who has asked; None: nobody in particular.
        door: by which, as in the audit log.
        image: what was asked for: an image's name, or what its packages are called.
        at: when it was asked for last, in unix seconds.
        notes: what of it has no effect here, or another one than it says.
        rules: names of the site's rules that were applied to it, in their order.
        refused: why it was refused at once, if it was.
    """

    token: str
    uid: int | None
    door: str
    image: str
    at: float
    notes: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    refused: Why | None = None


@dataclass(frozen=True, slots=True)
class Told:
    """An entry, and how far the request is as far as this node knows."""

    entry: Entry
    outcome: Outcome | None


class History:
    """The history of one node, in its database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lately: LRUCache[tuple[str, int], Entry] = LRUCache(LATELY_HELD)

    def outcome(self, token: str) -> Outcome | None:
        """Return how far a request has come."""
        rows = self._database.read("SELECT outcome FROM outcomes WHERE token = ?", token)
        return _decoded(rows[0][0], Outcome) if rows else None

    def settle(self, token: str, outcome: Outcome) -> None:
        """Keep how far a request has come."""
        row = (token, msgspec.json.encode(outcome), time.time())
        self._database.write_later("INSERT OR REPLACE INTO outcomes VALUES (?, ?, ?)", *row)

    def note(self, entry: Entry) -> None:
        """Keep what somebody has asked for, in place of the same of earlier; `GRAIN` seconds count as one time."""
        uid = _NOBODY if entry.uid is None else entry.uid
        if entry.token and self._is_repeated(entry, uid):
            return
        # What has no token is told apart by what was asked, and by what was said to that.
        text = f"{entry.image}\n{entry.refused.message if entry.refused else ''}"
        name = entry.token or "refused " + hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()
        row = (name, uid, msgspec.json.encode(entry), entry.at)
        self._database.write_later("INSERT OR REPLACE INTO entries VALUES (?, ?, ?, ?)", *row)

    def _is_repeated(self, entry: Entry, uid: int) -> bool:
        lately = self._lately.get((entry.token, uid))
        if lately is not None and 0 <= entry.at - lately.at < GRAIN and _is_same(entry, lately):
            return True
        self._lately[entry.token, uid] = entry
        return False

    def entries(self, uid: int | None, *, everybody: bool, limit: int) -> Iterator[Told]:
        """Yield what a user, or everybody, has asked for, the latest first."""
        mine = _NOBODY if uid is None else uid
        rows = self._database.read(
            "SELECT entry, outcome FROM entries LEFT JOIN outcomes ON id = token WHERE ? OR uid = ? "
            "ORDER BY entries.at DESC LIMIT ?",
            everybody,
            mine,
            limit,
        )
        for data, outcome in rows:
            entry = _decoded(data, Entry)
            if entry is not None:
                yield Told(entry, None if outcome is None else _decoded(outcome, Outcome))

    def has_asked(self, token: str, uid: int) -> bool:
        """Tell whether a user has asked for a request."""
        return bool(self._database.read("SELECT 1 FROM entries WHERE id = ? AND uid = ?", token, uid))

    def refusal(self, token: str, uid: int | None) -> Why | None:
        """Return why the request of a user that would have this token was refused, if it was."""
        mine = _NOBODY if uid is None else uid
        rows = self._database.read("SELECT entry FROM entries WHERE id = ? AND uid = ?", token, mine)
        entry = _decoded(rows[0][0], Entry) if rows else None
        return None if entry is None else entry.refused

    def forget(self, token: str) -> None:
        """Forget a request."""
        for lately in [lately for lately in self._lately if lately[0] == token]:
            del self._lately[lately]
        self._database.write_later("DELETE FROM outcomes WHERE token = ?", token)
        self._database.write_later("DELETE FROM entries WHERE id = ?", token)

    def expire(self) -> None:
        """Forget what is past its lifetime, or too much."""
        now = time.time()
        self._database.write_later("DELETE FROM outcomes WHERE at < ?", now - LIFETIME)
        self._database.write_later("DELETE FROM entries WHERE at < ?", now - LIFETIME)
        # A time in the future is one of a clock that was wrong.
        self._database.write_later("UPDATE outcomes SET at = ? WHERE at > ?", now, now)
        self._database.write_later("UPDATE entries SET at = ? WHERE at > ?", now, now)
        self._database.write_later(
            "DELETE FROM entries WHERE at < (SELECT at FROM entries ORDER BY at DESC LIMIT 1 OFFSET ?)", ENTRIES_KEPT
        )


def _is_same(one: Entry, other: Entry) -> bool:
    return msgspec.structs.replace(one, at=other.at) == other


def _kind(error: WaveletError | type[WaveletError]) -> str:
    """Return how rows name an error, `ImageNotFound` for the reason `IMAGE_NOT_FOUND`."""
    return error.reason.title().replace("_", "")


def _kinds(root: type[WaveletError]) -> Iterator[type[WaveletError]]:
    yield root
    for each in root.__subclasses__():
        yield from _kinds(each)


def _decoded(data: bytes, kind: type[_K]) -> _K | None:
    """Read a row; one that another version has written is as good as not there."""
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.DecodeError:
        return None


IMAGE_LIMIT = 500
"""Characters of what a request asked for that the history has."""


class Decisions:
    """Writes down what was decided."""

    def __init__(self, audit: Audit, history: History) -> None:
        self._audit = audit
        self._history = history

    def accepted(self, request: Request, kept: ContainerRequest, *, ready: bool) -> None:
        """Write down that a request is kept, and whether it is ready."""
        about, identity, plan = request.about, request.identity, request.effective
        self._history.note(_entry(about, identity, kept.token))
        self._audit.note(
            "granted" if ready else "pending",
            door=about.api,
            uid=identity.uid,
            principal=kept.principal,
            name=f"{answer_name(kept.token)}/{plan.label.path}",
            plan=plan,
            rules=about.rules,
        )

    def refused(
        self, error: WaveletError, about: About, identity: Identity, token: str = "", plan: Node | None = None
    ) -> None:
        """Write down that a request was refused; of one that cannot be read there is no token and no plan."""
        name = about.image if plan is None else f"{answer_name(token)}/{plan.label.path}"
        self._audit.note(
            decision_of(error),
            door=about.api,
            uid=identity.uid,
            name=name,
            plan=plan,
            reason=error.message,
            rules=about.rules,
        )
        self._history.note(_entry(about, identity, token, Why.of(error)))


def _entry(about: About, identity: Identity, token: str, refused: Why | None = None) -> Entry:
    """Return what the history has of a request that a user makes now."""
    return Entry(
        token=token,
        uid=identity.uid,
        door=about.api,
        image=about.image[:IMAGE_LIMIT],
        at=time.time(),
        notes=about.notes,
        rules=about.rules,
        refused=refused,
    )
