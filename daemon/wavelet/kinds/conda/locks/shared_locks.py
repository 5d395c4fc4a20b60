"""The locks that stand for all nodes: under keys that they share, and as this node's database remembers them.

The first lock of a request is everybody's until somebody asks to refresh it. The node's own copy answers at once for a
while, and stands in where the shared place cannot be asked.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import replace

import structlog
from cachetools import LRUCache

from wavelet.cluster.claims import Claims
from wavelet.config import Apply, Settings
from wavelet.errors import InvalidRequest, NewerForm, OurError
from wavelet.image.reference import Reference
from wavelet.kinds.conda.model.node import CondaEnvironment, LockedEnvironment
from wavelet.kinds.registry_image.node import RegistryImage
from wavelet.plan import canonical
from wavelet.plan.canonical import Forms
from wavelet.store.database import Database

log = structlog.get_logger()

SCHEMA = """
CREATE TABLE IF NOT EXISTS conda_locks (key TEXT PRIMARY KEY, family TEXT, lock BLOB, at REAL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS conda_locks_family ON conda_locks (family, at);
"""

_BY_KEY = "SELECT lock FROM conda_locks WHERE key = ? ORDER BY at DESC LIMIT 1"
_BY_FAMILY = "SELECT lock FROM conda_locks WHERE family = ? ORDER BY at DESC LIMIT 1"

CACHED_SECONDS = 60.0
"""Seconds for which a lock is taken for the shared one without a look: another node may have refreshed it."""

KEPT = 180 * 86400.0
"""Seconds after which the node forgets a lock that nobody has asked for."""

WINDOWS = 4
"""How many earlier windows of a lock that is renewed by age are looked for."""

_HELD = 512


class Locks:
    """Locks by the request that they answer. A lock that is kept has the base as asked, which the caller replaces.

    What is in it is the same for many layers and for few; the caller says which.
    """

    def __init__(
        self,
        database: Database,
        claims: Claims,
        forms: Forms,
        settings: Settings,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Use a database with `SCHEMA`; `forms` are plans', `clock` gives unix seconds."""
        self._database = database
        self._claims = claims
        self._forms = forms
        self.configure(settings)()
        self._clock = clock
        self._held: LRUCache[str, tuple[LockedEnvironment, float]] = LRUCache(_HELD)
        self._built: LRUCache[str, None] = LRUCache(_HELD)

    def configure(self, settings: Settings) -> Apply:
        """See `Configurable`: after how many seconds what is named by its specs is solved anew."""

        def apply() -> None:
            self._renew_after = settings.conda.renew_names

        return apply

    def cached(self, leaf: CondaEnvironment) -> LockedEnvironment | None:
        """Return the lock if nobody has to be asked for it."""
        key = self._key(leaf)
        held = self._held.get(key)
        if held is None:
            rows = self._database.read("SELECT lock, at FROM conda_locks WHERE key = ?", key)
            lock = self._decoded(rows[0][0]) if rows else None
            if lock is None:
                return None
            held = self._hold(key, lock, rows[0][1])
        lock, at = held
        return lock if at <= self._clock() < at + CACHED_SECONDS else None

    def latest(self, leaf: CondaEnvironment) -> LockedEnvironment | None:
        """Return the lock that this node knows last, whether it still stands or not."""
        return self._own(_BY_KEY, self._key(leaf))

    async def shared(self, leaf: CondaEnvironment) -> LockedEnvironment | None:
        """Return the lock that all nodes share."""
        key = self._key(leaf)
        try:
            data = await self._claims.claimed(key)
        except OurError as error:
            log.warning("the shared locks cannot be read; this node's own stands in", because=error.message)
            return self._own(_BY_KEY, key)
        lock = None if data is None else self._decoded(data)
        if lock is None:
            own = self._own(_BY_KEY, key)
            return None if own is None else await self.keep(leaf, own)
        return self._remember(leaf, lock)

    async def keep(
        self, leaf: CondaEnvironment, lock: LockedEnvironment, *, refresh: bool = False
    ) -> LockedEnvironment:
        """Share a lock; return the one that stands: that of whoever was first, unless this is a refresh."""
        key = self._key(leaf)
        data = canonical.encode(replace(lock, base=leaf.base, layers="many"))
        said = await self._claims.claim(key, data, replace=refresh)
        shared = self._decoded(said)
        if shared is None and not self._is_newer(said):  # damaged
            shared = self._decoded(await self._claims.claim(key, data, replace=True))
        return self._remember(leaf, shared or lock)

    async def earlier(self, leaf: CondaEnvironment) -> LockedEnvironment | None:
        """Return the lock of an earlier time, where the request's lock is renewed by age; for a while it is cached."""
        if not leaf.renewed:
            return None
        lock = self._own(_BY_FAMILY, _family(leaf))
        for window in range(1, WINDOWS + 1):
            if lock is not None:
                break
            data = await self._claims.claimed(self._key(leaf, window))
            lock = None if data is None else self._decoded(data)
        if lock is not None:
            self._hold(self._key(leaf), lock, self._clock())
        return lock

    async def mark_built(self, lock: LockedEnvironment) -> None:
        """Note for all nodes that an image was made of a lock's packages, on whatever base."""
        key = _built_key(lock)
        if key not in self._built:
            await self._claims.claim(key, b"made")
            self._built[key] = None

    async def was_built(self, lock: LockedEnvironment) -> bool:
        """Tell whether any node has noted that."""
        key = _built_key(lock)
        return key in self._built or await self._claims.claimed(key) is not None

    def expire(self) -> None:
        """Forget locks that nobody has asked for in `KEPT` seconds."""
        now = self._clock()
        self._database.write_later("DELETE FROM conda_locks WHERE at < ?", now - KEPT)
        self._database.write_later("UPDATE conda_locks SET at = ? WHERE at > ?", now, now)

    def _own(self, query: str, value: str) -> LockedEnvironment | None:
        rows = self._database.read(query, value)
        return self._decoded(rows[0][0]) if rows else None

    def _remember(self, leaf: CondaEnvironment, lock: LockedEnvironment) -> LockedEnvironment:
        key, now = self._key(leaf), self._clock()
        row = (key, _family(leaf), canonical.encode(lock), now)
        self._database.write_later("INSERT OR REPLACE INTO conda_locks VALUES (?, ?, ?, ?)", *row)
        self._hold(key, lock, now)
        return lock

    def _hold(self, key: str, lock: LockedEnvironment, at: float) -> tuple[LockedEnvironment, float]:
        self._held[key] = lock, at
        return lock, at

    def _key(self, leaf: CondaEnvironment, ago: int = 0) -> str:
        window = f"/{int(self._clock() // self._renew_after) - ago}" if leaf.renewed else ""
        return f"conda-lock/{_family(leaf)}{window}"

    def _decoded(self, data: bytes) -> LockedEnvironment | None:
        try:
            plan = canonical.decode(data, self._forms)
        except (InvalidRequest, NewerForm) as error:
            log.warning("a lock cannot be read, and is made anew", reason=error.message)
            return None
        return plan if isinstance(plan, LockedEnvironment) else None

    def _is_newer(self, data: bytes) -> bool:
        """Tell whether a lock is one of a newer version: it stays, and this node has its own."""
        try:
            canonical.decode(data, self._forms)
        except NewerForm:
            return True
        except InvalidRequest:
            return False
        return False


def _built_key(lock: LockedEnvironment) -> str:
    anywhere = RegistryImage(Reference.parse("scratch"), lock.platform)
    # That an image can be made of it does not depend on the version of what makes it, nor on how many layers it has.
    return f"conda-made/{hashlib.sha256(canonical.canonical(replace(lock, base=anywhere, layers='many'))).hexdigest()}"


def _family(leaf: CondaEnvironment) -> str:
    # What a request is solved to is the same for images of many layers and of few.
    return hashlib.sha256(canonical.canonical(replace(leaf, layers="many"))).hexdigest()
