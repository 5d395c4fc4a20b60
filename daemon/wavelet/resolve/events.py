"""Events and logs of work: how far it is, for those who watch, and its lines, for those who read them later.

Noting is as cheap as adding to a list or a number: there is no queue and no task, whether anybody watches or not. A
watcher looks from time to time, and is told what is new to it since: of progress the latest, of a log every line. So
one that comes late is told all from the start of the work, and one that is slow holds up nothing.

Work that is shared is noted once, by its own job; the account of a job that has joined it has it as a part.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from cachetools import LRUCache

from wavelet.image.reference import Digest
from wavelet.plan.canonical import key as key_of
from wavelet.plan.node import Node
from wavelet.store.database import Database

Phase = Literal["pinning", "solving", "making", "verifying"]


@dataclass(frozen=True, slots=True)
class PhaseBegan:
    """A phase has begun; one that has nothing to do never does."""

    phase: Phase


@dataclass(frozen=True, slots=True)
class PackagesDone:
    """So many packages and wheels of an image have their layers ready, of so many."""

    done: int
    total: int


@dataclass(frozen=True, slots=True)
class BytesDone:
    """So many bytes were taken in from registries, channels and locations, of so many, as far as is known.

    The indexes of channels do not count. What another piece of work has begun to take in, and this one waits for,
    counts whole. The total falls where a package turns out not to be needed, since its layer can be had otherwise.
    """

    done: int
    total: int


@dataclass(frozen=True, slots=True)
class BytesSent:
    """So many bytes were sent to the registry that an image goes to, of so many, as far as is known."""

    done: int
    total: int


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line of a log, without its end."""

    text: str


Event = PhaseBegan | PackagesDone | BytesDone | BytesSent | LogLine


class Arriving(Protocol):
    """Bytes on their way; see `wavelet.store.ingest.PartialBlob`."""

    @property
    def digest(self) -> Digest | None:
        """What the whole has to be, if that is known."""

    @property
    def size(self) -> int | None:
        """Bytes of the whole, or None while nobody knows."""

    @property
    def received(self) -> int:
        """Bytes that have come."""

    @property
    def failed(self) -> bool:
        """True when no more will come, though there are more."""


@dataclass(slots=True)
class Download:
    """Bytes that are counted by whoever fetches them."""

    size: int | None
    received: int = 0
    digest: Digest | None = None
    failed: bool = False


@dataclass(slots=True)
class Upload:
    """Bytes that are counted by whoever sends them; `size` is that of all, as far as is known."""

    size: int = 0
    sent: int = 0


class Account:
    """What one piece of work has done so far, and the accounts of the work that it has joined."""

    __slots__ = ("_arriving", "_began", "_leaving", "_lines", "_log_began", "_parts", "_ready", "_wanted")

    def __init__(self) -> None:
        self._began: dict[Phase, float] = {}
        self._arriving: list[Arriving] = []
        self._leaving: list[Upload] = []
        self._wanted: dict[str, int] = {}
        self._ready: set[str] = set()
        self._lines: Sequence[str] = ()
        self._log_began = 0.0
        self._parts: list[Account] = []

    def begin(self, phase: Phase) -> None:
        """Note that a phase begins."""
        self._began.setdefault(phase, time.monotonic())

    def began(self, phase: Phase) -> float | None:
        """Return when a phase has begun, here or in a part, by the monotonic clock."""
        return min((each._began[phase] for each in self.whole() if phase in each._began), default=None)

    def take_in(self, arriving: Arriving) -> None:
        """Note bytes on their way, which count from now on without being noted again."""
        self._arriving.append(arriving)

    def send(self, leaving: Upload) -> None:
        """Note bytes that are being sent, which count from now on without being noted again."""
        self._leaving.append(leaving)

    def want(self, packages: Mapping[str, int]) -> None:
        """Note the packages of an image: bytes of their archives (0 if unknown) by sha256 in hexadecimal."""
        self._wanted |= packages

    def ready(self, package: str) -> None:
        """Note that a package's layer is ready."""
        self._ready.add(package)

    def log(self, lines: Sequence[str]) -> None:
        """Note where the log is; lines may be added to it for as long as the work goes on."""
        self._lines, self._log_began = lines, time.monotonic()

    def join(self, part: Account) -> None:
        """Note work that this one waits for."""
        self._parts.append(part)

    def whole(self) -> list[Account]:
        """Return this account and those of all parts, each once."""
        found: dict[int, Account] = {}
        waiting = [self]
        while waiting:
            account = waiting.pop()
            if id(account) not in found:
                found[id(account)] = account
                waiting += account._parts
        return list(found.values())


class View:
    """One watcher's view of an account."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._phases: set[Phase] = set()
        self._read: dict[Account, int] = {}
        self._packages = PackagesDone(0, 0)
        self._bytes = BytesDone(0, 0)
        self._sent = BytesSent(0, 0)

    def news(self) -> Iterator[Event]:
        """Yield what is new since the last time: phases, lines of logs, packages, bytes in and out."""
        accounts = self._account.whole()
        yield from self._new_phases(accounts)
        yield from self._new_lines(accounts)
        packages, size = _packages(accounts), _bytes(accounts)
        if packages != self._packages:
            self._packages = packages
            yield packages
        if size != self._bytes:
            self._bytes = size
            yield size
        leaving = [each for account in accounts for each in account._leaving]
        sent = BytesSent(sum(each.sent for each in leaving), sum(each.size for each in leaving))
        if sent != self._sent:
            self._sent = sent
            yield sent

    def _new_phases(self, accounts: Iterable[Account]) -> Iterator[Event]:
        began = [(at, phase) for account in accounts for phase, at in account._began.items()]
        for _, phase in sorted(began):
            if phase not in self._phases:
                self._phases.add(phase)
                yield PhaseBegan(phase)

    def _new_lines(self, accounts: Iterable[Account]) -> Iterator[Event]:
        for account in sorted(accounts, key=lambda account: account._log_began):
            seen = self._read.get(account, 0)
            new = account._lines[seen:]
            if new:
                self._read[account] = seen + len(new)
                yield from (LogLine(line.rstrip("\n")) for line in new)


def _packages(accounts: Iterable[Account]) -> PackagesDone:
    wanted: set[str] = set()
    ready: set[str] = set()
    for account in accounts:
        wanted |= account._wanted.keys()
        ready |= account._ready
    return PackagesDone(len(wanted & ready), len(wanted))


def _bytes(accounts: Iterable[Account]) -> BytesDone:
    arriving = {id(each): each for account in accounts for each in account._arriving}.values()
    done = sum(each.received for each in arriving)
    total = sum(each.received if each.failed or each.size is None else each.size for each in arriving)
    begun = {each.digest.hex for each in arriving if each.digest is not None}
    for account in accounts:
        # What has not begun to come, and may not have to.
        begun |= account._ready
    expected = {name: size for account in accounts for name, size in account._wanted.items() if name not in begun}
    return BytesDone(done, total + sum(expected.values()))


SCHEMA = """
CREATE TABLE IF NOT EXISTS journals (key TEXT PRIMARY KEY, text TEXT, at REAL) WITHOUT ROWID;
"""

LINES_LIMIT = 5_000
"""Lines of one journal; what comes then is left out."""

LINE_LIMIT = 4_000
"""Characters of one line."""

HELD = 512
"""Journals in memory."""

LIFETIME = 90 * 86400.0
"""Seconds for which a journal is kept."""


def solve_key(asked: Node) -> str:
    """Return the key of the journal of a solve."""
    return f"solve {key_of(asked)}"


def make_key(key: str) -> str:
    """Return the key of the journal of the making of a pinned plan with `key`."""
    return f"make {key}"


@dataclass(slots=True)
class _Journal:
    began: float = field(default_factory=time.monotonic)
    lines: list[str] = field(default_factory=list)

    def add(self, text: str) -> None:
        elapsed = time.monotonic() - self.began
        for line in text.splitlines() or [""]:
            if len(self.lines) < LINES_LIMIT:
                self.lines.append(f"{elapsed:8.2f} s  {line[:LINE_LIMIT]}\n")


class Journals:
    """The journals of one node, by the key of what was worked on; each is of the latest attempt."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._held: LRUCache[str, _Journal] = LRUCache(HELD)

    def begin(self, key: str) -> Callable[[str], None]:
        """Begin a journal anew and return what adds lines to it."""
        journal = self._held[key] = _Journal()
        return journal.add

    def lines(self, key: str) -> Sequence[str]:
        """Return the lines of a journal that has just begun; there are more of them as it goes on."""
        return self._held[key].lines

    def end(self, key: str) -> None:
        """Write a journal down: nothing is added any more."""
        journal = self._held.get(key)
        if journal is not None:
            row = (key, "".join(journal.lines), time.time())
            self._database.write_later("INSERT OR REPLACE INTO journals VALUES (?, ?, ?)", *row)

    def drop(self, key: str) -> None:
        """Forget a journal that has begun: what was written down of the attempt before it stands."""
        self._held.pop(key, None)

    def read(self, key: str) -> str | None:
        """Return what there is so far."""
        journal = self._held.get(key)
        if journal is not None:
            return "".join(journal.lines)
        rows = self._database.read("SELECT text FROM journals WHERE key = ?", key)
        return rows[0][0] if rows else None

    def refer(self, key: str, others: list[str]) -> None:
        """Note which journals go on where another one ends."""
        self._database.write_later(
            "INSERT OR REPLACE INTO journals VALUES (?, ?, ?)", f"refers {key}", "\n".join(others), time.time()
        )

    def referred(self, key: str) -> list[str]:
        """Return what `refer` noted last."""
        rows = self._database.read("SELECT text FROM journals WHERE key = ?", f"refers {key}")
        return rows[0][0].split("\n") if rows else []

    def expire(self) -> None:
        """Forget journals that are past their lifetime."""
        now = time.time()
        self._database.write_later("DELETE FROM journals WHERE at NOT BETWEEN ? AND ?", now - LIFETIME, now)
