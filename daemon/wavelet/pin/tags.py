"""Tags become digests: asked upstream at most once per `tag_ttl`, remembered with their time and for whom.

Several plans with the same leaf share the answer. A digest needs no answer to what it is, but to whether the identity
may read it there, and whether it is there at all.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace

import structlog

from wavelet.config import Alias
from wavelet.errors import AccessRefused, ImageNotFound, NotFound, UpstreamError, WaveletError
from wavelet.image.digest import Digest
from wavelet.image.reference import Reference
from wavelet.pin.access import Access, Asks, holder_of
from wavelet.plan.identity import Identity
from wavelet.plan.plan import FromRegistry, Plan, map_sources, sources
from wavelet.plan.tokens import ANONYMOUS
from wavelet.store.database import Database

log = structlog.get_logger()

SCHEMA = """
CREATE TABLE IF NOT EXISTS pins (leaf TEXT, holder TEXT, pinned TEXT, at REAL, PRIMARY KEY (leaf, holder))
WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class Pinned:
    """A plan whose every leaf is a digest, and whether everyone may read all of it."""

    plan: Plan
    public: bool


@dataclass(frozen=True, slots=True)
class _Pin:
    reference: Reference
    public: bool
    at: float


class Pinner:
    """The pins of one node, in its database."""

    def __init__(
        self,
        database: Database,
        upstream: Asks,
        access: Access,
        aliases: Iterable[Alias],
        *,
        tag_ttl: float,
        grace: float,
    ) -> None:
        self._database = database
        self._upstream = upstream
        self._access = access
        self._aliases = tuple(aliases)
        self._tag_ttl = tag_ttl
        self._grace = grace
        self._known: dict[tuple[Reference, str], _Pin] = {}
        for leaf, holder, pinned, at in database.read("SELECT leaf, holder, pinned, at FROM pins"):
            key = Reference.parse(leaf), holder
            self._known[key] = _Pin(Reference.parse(pinned), holder == ANONYMOUS, at)

    def expire(self) -> None:
        """Forget pins that are past the grace time: nothing could come of them any more."""
        horizon = time.time() - self._grace
        for key in [key for key, pin in self._known.items() if pin.at < horizon]:
            del self._known[key]
        self._database.write_later("DELETE FROM pins WHERE at < ?", horizon)

    def fresh(self, plan: Plan, identity: Identity) -> Pinned | None:
        """Return the pinned plan if that takes no question to anybody."""
        pins = {leaf.reference: self._fresh(leaf.reference, identity) for leaf in sources(plan)}
        found = {reference: pin for reference, pin in pins.items() if pin is not None}
        return _pinned(plan, found) if len(found) == len(pins) else None

    async def pin(self, plan: Plan, identity: Identity) -> Pinned:
        """Fix every leaf of `plan`.

        Raises:
            ImageNotFound, AccessRefused: definite answers of an upstream.
            UpstreamError: an upstream does not answer, and nothing remembered stands in for it.
        """
        leaves = list(dict.fromkeys(leaf.reference for leaf in sources(plan)))
        answers = await asyncio.gather(*(self._pin(leaf, identity) for leaf in leaves), return_exceptions=True)
        pins: dict[Reference, _Pin] = {}
        for leaf, answer in zip(leaves, answers, strict=True):
            if isinstance(answer, BaseException):
                raise answer
            pins[leaf] = answer
        return _pinned(plan, pins)

    def _remembered(self, leaf: Reference, identity: Identity) -> _Pin | None:
        return self._known.get((leaf, ANONYMOUS)) or self._known.get((leaf, identity.principal))

    def _fresh(self, leaf: Reference, identity: Identity) -> _Pin | None:
        pin = self._remembered(leaf, identity)
        if pin is None or not self._access.stands(pin.reference.repository, identity):
            return None
        # A digest does not move; a tag's answer ages.
        return pin if leaf.digest is not None or pin.at >= time.time() - self._tag_ttl else None

    async def _pin(self, leaf: Reference, identity: Identity) -> _Pin:
        pin = self._fresh(leaf, identity)
        if pin is not None:
            return pin
        try:
            return await self._ask(leaf, identity)
        except (UpstreamError, AccessRefused) as error:
            stale = self._remembered(leaf, identity)
            if stale is None or stale.at < time.time() - self._grace:
                raise
            if not self._access.stands_in(error, stale.reference.repository, identity):
                self._access.revoke(stale.reference.repository, identity, error)
                raise
            log.warning("an earlier answer stands in", image=str(leaf), because=error.message)
            return stale

    async def _ask(self, leaf: Reference, identity: Identity) -> _Pin:
        try:
            return await self._ask_at(leaf, leaf, identity)
        except (NotFound, AccessRefused) as error:
            alias = self._aliased(leaf)
            if alias is None:
                raise
            try:
                pin = await self._ask_at(leaf, alias, identity)
            except WaveletError as second:
                raise type(error)(f"{error.message}; also looked for it at {alias}: {second.message}") from None
            log.info("found under another name", image=str(leaf), found=str(alias))
            return pin

    async def _ask_at(self, leaf: Reference, where: Reference, identity: Identity) -> _Pin:
        found = await self._upstream.head(where, identity)
        if where.digest is not None and found.digest != where.digest:
            raise ImageNotFound(f"{where.repository} answered {where.digest} with another digest")
        holder = holder_of(found.granted, identity)
        self._access.granted(where.repository, holder, found.digest)
        return self._remember(leaf, where.at(found.digest), holder)

    def _aliased(self, leaf: Reference) -> Reference | None:
        name = str(leaf.repository)
        for alias in self._aliases:
            if name == alias.prefix or name.startswith(alias.prefix + "/"):
                moved = Reference.parse(alias.instead + name[len(alias.prefix) :])
                return replace(leaf, repository=moved.repository)
        return None

    def _remember(self, leaf: Reference, pinned: Reference, holder: str) -> _Pin:
        pin = _Pin(pinned, holder == ANONYMOUS, time.time())
        self._known[leaf, holder] = pin
        self._database.write_later(
            "INSERT OR REPLACE INTO pins VALUES (?, ?, ?, ?)", str(leaf), holder, str(pinned), pin.at
        )
        return pin


def _pinned(plan: Plan, pins: dict[Reference, _Pin]) -> Pinned:
    def fix(leaf: FromRegistry) -> FromRegistry:
        return replace(leaf, reference=pins[leaf.reference].reference)

    return Pinned(map_sources(plan, fix), all(pin.public for pin in pins.values()))


def digest_of(pinned: Plan) -> Digest:
    """Return the digest of a pinned plan's first source."""
    digest = next(sources(pinned)).reference.digest
    assert digest is not None
    return digest
