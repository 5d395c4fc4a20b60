"""Grants: who may read which repository, as its upstream has said, and for how long that answer stands.

A grant has a *holder*: the principal to whom it was given, everybody or one identity. A yes is remembered for `ttl`;
then the upstream is asked again. While it does not answer it is left in peace for some seconds, and everybody keeps
what they were themselves granted, within the grace time. If it refuses, that is a no, but for one case: 403 for what
was public, which registries also say when they do not want to answer now.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Protocol, TypeVar

import structlog

from wavelet.concurrency import SingleFlight
from wavelet.config import Apply, Settings
from wavelet.errors import AccessRefused, NotFound, UpstreamError, UpstreamUnreachable, WaveletError
from wavelet.image.reference import Digest, Reference, Repository
from wavelet.plan.hosted import owner_of
from wavelet.plan.tokens import ANONYMOUS, Identity, Principal
from wavelet.quantities import is_within
from wavelet.store.database import Database
from wavelet.upstream.credential_sources import Granted
from wavelet.upstream.manifests import Found
from wavelet.upstream.retry import ExpiringSet

log = structlog.get_logger()

T = TypeVar("T")

SCHEMA = """
CREATE TABLE IF NOT EXISTS grants (repository TEXT, holder TEXT, probe TEXT, at REAL, PRIMARY KEY (repository, holder))
WITHOUT ROWID;
"""

STALE_WAIT = 1.5
"""Seconds that an upstream has to answer where an earlier answer could stand in for it: fewer than a POST waits for its
pin, which is then known in time and decides the name."""

LONGEST_REST = 60.0
"""Most seconds for which an upstream that asks for it is left in peace."""


class Asks(Protocol):
    """What is needed of the upstream client."""

    async def head(self, reference: Reference, identity: Identity) -> Found:
        """See `wavelet.upstream.client.Upstream.head`."""

    async def logins_version(self, identity: Identity) -> str:
        """See `wavelet.upstream.client.Upstream.logins_version`."""


@dataclass(frozen=True, slots=True)
class _Grant:
    probe: Digest
    at: float


def holder_of(granted: Granted, identity: Identity) -> Principal:
    """Return for whom a grant is remembered: everyone's, or the identity's own."""
    return ANONYMOUS if granted.public else identity.principal


class Grants:
    """The grants of one node, in its database."""

    def __init__(self, database: Database, upstream: Asks, settings: Settings) -> None:
        self._database = database
        self._upstream = upstream
        self.configure(settings)()
        self._known: dict[tuple[Repository, Principal], _Grant] = {}
        self._resting: ExpiringSet[Repository] = ExpiringSet()
        self._tasks: set[asyncio.Task[object]] = set()
        self._asking: SingleFlight[tuple[Repository, Principal, str], None] = SingleFlight("ask for access")
        for text, holder, probe, at in database.read("SELECT repository, holder, probe, at FROM grants"):
            host, _, path = text.partition("/")
            with contextlib.suppress(ValueError):  # a row that cannot be read is as good as none
                self._known[Repository(host, path), Principal.parse(holder)] = _Grant(Digest(probe), at)

    def configure(self, settings: Settings) -> Apply:
        """See `Configurable`: how long a grant counts, and stands in."""

        def apply() -> None:
            self._ttl, self._grace = settings.upstream.access_ttl, settings.upstream.grace

        return apply

    def expire(self) -> None:
        """Forget grants that are past the grace time: nothing could come of them any more."""
        now = time.time()
        for key in [key for key, grant in self._known.items() if not is_within(grant.at, now, self._grace)]:
            del self._known[key]
        self._database.write_later("DELETE FROM grants WHERE at NOT BETWEEN ? AND ?", now - self._grace, now)

    # -- what is known ------------------------------------------------------------------------------------------------

    def record(self, repository: Repository, holder: Principal, probe: Digest) -> None:
        """Remember that `holder` has just read the manifest `probe`, which is what to ask for next time."""
        now = time.time()
        self._known[repository, holder] = _Grant(probe, now)
        self._resting.discard(repository)
        row = (str(repository), str(holder), probe, now)
        self._database.write_later("INSERT OR REPLACE INTO grants VALUES (?, ?, ?, ?)", *row)

    def holders(self, repository: Repository, identity: Identity) -> list[Principal]:
        """Return the holders for which `identity` may read without asking anybody."""
        return self._holders(repository, identity, self._grace if self.is_resting(repository) else self._ttl)

    def is_resting(self, repository: Repository) -> bool:
        """Tell whether the upstream has just failed to answer for this repository, and is left in peace."""
        return repository in self._resting

    def holders_despite(self, error: WaveletError, repository: Repository, identity: Identity) -> list[Principal]:
        """Return the holders whose earlier grant holds in spite of `error`, and let the upstream rest."""
        holders = self._holders(repository, identity, self._grace)
        if isinstance(error, UpstreamError):
            if holders:
                rest = min(LONGEST_REST, max(error.negative_ttl, error.retry_after or 0.0))
                self._resting.add(repository, rest)
            return holders
        # Gone: of a public image the bytes may still be handed out; for a private one it can be the way to say no.
        stays = error.declined if isinstance(error, AccessRefused) else isinstance(error, NotFound)
        return [holder for holder in holders if holder == ANONYMOUS and stays]

    def _holders(self, repository: Repository, identity: Identity, age: float) -> list[Principal]:
        owner = owner_of(repository)
        if owner is not None:  # what this node hosts itself says whose it is
            return [owner] if owner in (ANONYMOUS, identity.principal) else []
        now = time.time()
        grants = {holder: self._known.get((repository, holder)) for holder in (ANONYMOUS, identity.principal)}
        return [holder for holder, grant in grants.items() if grant is not None and is_within(grant.at, now, age)]

    def revoke(self, repository: Repository, identity: Identity, error: WaveletError) -> None:
        """Forget the identity's own grant after a no, and everyone's after a refusal to everyone."""
        if isinstance(error, UpstreamError):
            return
        for holder in {identity.principal, ANONYMOUS}:
            if holder != ANONYMOUS or isinstance(error, AccessRefused):
                self._known.pop((repository, holder), None)
                sql = "DELETE FROM grants WHERE repository = ? AND holder = ?"
                self._database.write_later(sql, str(repository), str(holder))

    # -- asking -------------------------------------------------------------------------------------------------------

    async def renew(self, asking: Coroutine[object, object, T], host: str, *, quickly: bool) -> T:
        """Return what `asking` an upstream brings; `quickly` where an earlier answer could stand in.

        A question that takes longer goes on: whatever it does with its answer, it will do.

        Raises:
            WaveletError: the upstream's answer, or that there is none in time.
        """
        task = asyncio.create_task(asking, name=f"ask {host}")
        self._tasks.add(task)
        task.add_done_callback(self._done)
        done, _ = await asyncio.wait({task}, timeout=STALE_WAIT if quickly else None)
        if not done:
            raise UpstreamUnreachable(f"no answer from {host} within {STALE_WAIT:g} s")
        return task.result()

    def _done(self, task: asyncio.Task[object]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # it has been acted upon, whether or not somebody still waits

    async def close(self) -> None:
        """End questions that are still asked."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def ask(self, where: Reference, identity: Identity) -> tuple[Found, Principal]:
        """Ask the upstream for `where`, record what it says of access, and return to whom it was granted too.

        Raises:
            WaveletError: the upstream's answer, or that there is none.
        """
        try:
            found = await self._upstream.head(where, identity)
        except (AccessRefused, NotFound) as error:
            if not self.holders_despite(error, where.repository, identity):
                self.revoke(where.repository, identity, error)
            raise
        holder = holder_of(found.granted, identity)
        self.record(where.repository, holder, found.digest)
        return found, holder

    async def require(self, repository: Repository, identity: Identity) -> None:
        """Return if `identity` may read `repository`.

        Raises:
            AccessRefused: it may not, or nothing was ever granted.
            UpstreamError: the upstream does not answer, and no earlier grant stands in for it.
        """
        if self.holders(repository, identity):
            return
        key = repository, identity.principal, await self.logins_version(identity)
        await self._asking.run(key, lambda: self._require(repository, identity))

    async def logins_version(self, identity: Identity) -> str:
        """Return what changes when the logins of an identity do: who asks with others asks another question."""
        return await self._upstream.logins_version(identity)

    async def _require(self, repository: Repository, identity: Identity) -> None:
        if self.holders(repository, identity):
            return
        probe = Reference(repository).at(self._probe(repository, identity))
        try:
            await self.renew(self.ask(probe, identity), repository.host, quickly=True)
        except (UpstreamError, AccessRefused, NotFound) as error:
            if not self.holders_despite(error, repository, identity):
                raise
            log.warning("an earlier answer stands in", repository=str(repository), because=error.message)

    def _probe(self, repository: Repository, identity: Identity) -> Digest:
        for holder in (ANONYMOUS, identity.principal):
            if (repository, holder) in self._known:
                return self._known[repository, holder].probe
        probe = next((grant.probe for (where, _), grant in self._known.items() if where == repository), None)
        if probe is None:
            raise AccessRefused(f"nothing says that you may read {repository}")
        return probe
