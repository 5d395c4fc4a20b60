"""Who may read which repository: what an upstream has granted, to whom, and for how long that answer stands.

A grant to `anonymous` is everyone's. A yes is remembered for `access_ttl`; then the upstream is asked again. If it does
not answer, an identity keeps what it was itself granted, within the grace time. If it refuses, that is a no, but for
one case: 403 for what was public, which registries also say when they do not want to answer now.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Protocol

import structlog

from wavelet.errors import AccessRefused, NotFound, UpstreamError
from wavelet.image.digest import Digest
from wavelet.image.reference import Reference, Repository
from wavelet.plan.identity import Identity
from wavelet.plan.tokens import ANONYMOUS
from wavelet.store.database import Database
from wavelet.upstream.client import Found, Granted

log = structlog.get_logger()

SCHEMA = """
CREATE TABLE IF NOT EXISTS grants (repository TEXT, holder TEXT, probe TEXT, at REAL, PRIMARY KEY (repository, holder))
WITHOUT ROWID;
"""


class Asks(Protocol):
    """What is needed of the upstream client."""

    async def head(self, reference: Reference, identity: Identity) -> Found:
        """See `wavelet.upstream.client.Upstream.head`."""


@dataclass(frozen=True, slots=True)
class _Grant:
    probe: Digest
    at: float


def holder_of(granted: Granted, identity: Identity) -> str:
    """Return the name under which a grant is remembered: everyone's, or the identity's own."""
    return ANONYMOUS if granted.public else identity.principal


class Access:
    """The grants of one node, in its database."""

    def __init__(self, database: Database, upstream: Asks, *, ttl: float, grace: float) -> None:
        self._database = database
        self._upstream = upstream
        self._ttl = ttl
        self._grace = grace
        self._known: dict[tuple[Repository, str], _Grant] = {}
        for text, holder, probe, at in database.read("SELECT repository, holder, probe, at FROM grants"):
            host, _, path = text.partition("/")
            self._known[Repository(host, path), holder] = _Grant(Digest(probe), at)

    def expire(self) -> None:
        """Forget grants that are past the grace time: nothing could come of them any more."""
        horizon = time.time() - self._grace
        for key in [key for key, grant in self._known.items() if grant.at < horizon]:
            del self._known[key]
        self._database.write_later("DELETE FROM grants WHERE at < ?", horizon)

    def granted(self, repository: Repository, holder: str, probe: Digest) -> None:
        """Remember that `holder` has just read the manifest `probe`, which is what to ask for next time."""
        now = time.time()
        self._known[repository, holder] = _Grant(probe, now)
        self._database.write_later(
            "INSERT OR REPLACE INTO grants VALUES (?, ?, ?, ?)", str(repository), holder, probe, now
        )

    def stands(self, repository: Repository, identity: Identity) -> bool:
        """Tell whether an answer that is young enough says that `identity` may read `repository`."""
        horizon = time.time() - self._ttl
        return any(grant.at >= horizon for grant in self._grants(repository, identity).values())

    def _grants(self, repository: Repository, identity: Identity) -> dict[str, _Grant]:
        holders = (ANONYMOUS, identity.principal)
        found = {holder: self._known.get((repository, holder)) for holder in holders}
        return {holder: grant for holder, grant in found.items() if grant is not None}

    async def require(self, repository: Repository, identity: Identity) -> None:
        """Return if `identity` may read `repository`.

        Raises:
            AccessRefused: it may not, or nothing was ever granted.
            UpstreamError: the upstream does not answer, and no earlier grant stands in for it.
        """
        if self.stands(repository, identity):
            return
        own = self._grants(repository, identity)
        probes = own or {holder: g for (repo, holder), g in self._known.items() if repo == repository}
        if not probes:
            raise AccessRefused(f"nothing says that you may read {repository}")
        probe = next(iter(probes.values())).probe
        try:
            found = await self._upstream.head(Reference(repository).at(probe), identity)
        except (UpstreamError, AccessRefused, NotFound) as error:
            if not self.stands_in(error, repository, identity):
                self.revoke(repository, identity, error)
                raise
            log.warning("an earlier answer stands in", repository=str(repository), because=error.message)
        else:
            self.granted(repository, holder_of(found.granted, identity), probe)

    def stands_in(self, error: Exception, repository: Repository, identity: Identity) -> bool:
        """Tell whether what was granted earlier holds in spite of `error` (see the module)."""
        horizon = time.time() - self._grace
        holders = {h for h, grant in self._grants(repository, identity).items() if grant.at >= horizon}
        if isinstance(error, UpstreamError):
            return bool(holders)
        if isinstance(error, AccessRefused):
            return ANONYMOUS in holders and error.declined
        # Gone: of a public image the bytes may still be handed out; for a private one it can be the way to say no.
        return ANONYMOUS in holders

    def revoke(self, repository: Repository, identity: Identity, error: Exception) -> None:
        """Forget the identity's own grant after a no, and everyone's after a no to everyone."""
        if isinstance(error, UpstreamError):
            return
        for holder in self._grants(repository, identity):
            if holder != ANONYMOUS or isinstance(error, AccessRefused):
                self._known.pop((repository, holder), None)
                self._database.write_later(
                    "DELETE FROM grants WHERE repository = ? AND holder = ?", str(repository), holder
                )
