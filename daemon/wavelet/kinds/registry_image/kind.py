"""The kind of images that some registry has: tags become digests, asked for at most once per `tag_ttl`.

Several plans with the same leaf share the answer. A digest needs no answer to what it is, but to whether the identity
may read it there, and whether it is there at all.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Protocol

import structlog
from cachetools import LRUCache

from wavelet.concurrency import SingleFlight
from wavelet.config import Apply, Settings
from wavelet.errors import AccessRefused, InvalidName, NotFound, UpstreamBroken, UpstreamError, WaveletError
from wavelet.image.image import Image
from wavelet.image.reference import Reference, Repository
from wavelet.kinds.kind import Kind, Pinned, PinWork, Preparation, Work
from wavelet.kinds.registry_image import make as maker
from wavelet.kinds.registry_image.node import RegistryImage
from wavelet.plan.tokens import ANONYMOUS, Identity, Principal
from wavelet.quantities import is_within
from wavelet.store.database import Database
from wavelet.upstream.grants import Grants

log = structlog.get_logger()

LATELY = 0.5
"""Seconds for which what was found fresh is not looked at again: a tag is asked for thousands of times a second."""

LATELY_HELD = 1024

SCHEMA = """
CREATE TABLE IF NOT EXISTS pins (leaf TEXT, holder TEXT, pinned TEXT, at REAL, PRIMARY KEY (leaf, holder))
WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class _Pin:
    reference: Reference
    public: bool
    at: float


@dataclass(frozen=True, slots=True)
class _Doubt:
    """That what a tag was is gone from its registry; `asked`: when (unix seconds) the tag was asked for again."""

    pinned: Reference
    asked: float | None = None


class Pinner:
    """The pins of one node, in its database."""

    second_place: Callable[[Reference], Reference]
    """Returns from where the site has a second place (`upstream.aliases`); raises a WaveletError: from nowhere."""

    def __init__(self, database: Database, access: Grants, settings: Settings) -> None:
        self.second_place = lambda reference: reference
        self._database = database
        self._access = access
        self.configure(settings)()
        self._lately: LRUCache[tuple[RegistryImage, Principal], tuple[Pinned, float]] = LRUCache(LATELY_HELD)
        self._known: dict[tuple[Reference, Principal], _Pin] = {}
        self._doubted: dict[Reference, _Doubt] = {}
        self._asking: SingleFlight[tuple[Reference, Identity, str], _Pin] = SingleFlight("tag")
        for leaf, holder, pinned, at in database.read("SELECT leaf, holder, pinned, at FROM pins"):
            with contextlib.suppress(InvalidName, ValueError):  # a row that cannot be read is as good as none
                principal = Principal.parse(holder)
                pin = _Pin(Reference.parse(pinned), principal == ANONYMOUS, at)
                self._known[Reference.parse(leaf), principal] = pin

    def configure(self, settings: Settings) -> Apply:
        """See `Configurable`: second places to look, how long a tag counts, and its last answer stands in."""
        asking = settings.upstream

        def apply() -> None:
            self._aliases, self._tag_ttl, self._grace = asking.aliases, asking.tag_ttl, asking.grace

        return apply

    def expire(self) -> None:
        """Forget pins that are past the grace time: nothing could come of them any more."""
        now = time.time()
        for key in [key for key, pin in self._known.items() if not is_within(pin.at, now, self._grace)]:
            del self._known[key]
        self._database.write_later("DELETE FROM pins WHERE at NOT BETWEEN ? AND ?", now - self._grace, now)
        leaves = {leaf for leaf, _ in self._known}
        self._doubted = {leaf: doubt for leaf, doubt in self._doubted.items() if leaf in leaves}

    def doubt(self, repository: Repository) -> None:
        """Take note that content of a repository is gone: its tags are asked for anew, once within `tag_ttl`."""
        now = time.time()
        for (leaf, _), pin in self._known.items():
            if leaf.digest is None and pin.reference.repository == repository:
                doubt = self._doubted.get(leaf)
                asked = None if doubt is None or doubt.pinned != pin.reference else doubt.asked
                if asked is None or not is_within(asked, now, self._tag_ttl):
                    self._doubted[leaf] = _Doubt(pin.reference)
        self._lately.clear()

    def is_doubted(self, image: RegistryImage) -> bool:
        """Tell whether a tag is to be asked for because what it was is gone."""
        doubt = self._doubted.get(image.reference)
        return doubt is not None and doubt.asked is None

    def fresh(self, image: RegistryImage, identity: Identity) -> Pinned | None:
        """Return the pinned image if that takes no question to anybody."""
        key = image, identity.principal
        lately = self._lately.get(key)
        if lately is not None and lately[1] > time.monotonic():
            return lately[0]
        pin = self._fresh(image.reference, identity)
        if pin is None:
            return None
        pinned = _pinned(image, pin)
        self._lately[key] = pinned, time.monotonic() + min(LATELY, self._tag_ttl)
        return pinned

    async def pin(self, image: RegistryImage, identity: Identity) -> Pinned:
        """Fix an image; several platforms of it share the question.

        Raises:
            ImageNotFound, AccessRefused: definite answers of an upstream.
            UpstreamError: an upstream does not answer, and nothing remembered stands in for it.
        """
        key = image.reference, identity, await self._access.logins_version(identity)
        return _pinned(image, await self._asking.run(key, lambda: self._pin(image.reference, identity)))

    def _fresh(self, leaf: Reference, identity: Identity) -> _Pin | None:
        pin = self._newest(leaf, identity, lambda where: self._access.holders(where, identity))
        if pin is None or leaf.digest is not None:
            return pin  # a digest does not move; a tag's answer ages, more slowly while nobody can be asked
        doubt = self._doubted.get(leaf)
        if doubt is not None and doubt.asked is None and doubt.pinned == pin.reference:
            return None
        ttl = self._grace if self._access.is_resting(pin.reference.repository) else self._tag_ttl
        return pin if is_within(pin.at, time.time(), ttl) else None

    def _newest(
        self, leaf: Reference, identity: Identity, holders: Callable[[Repository], Iterable[Principal]]
    ) -> _Pin | None:
        """Return the newest pin whose own holder is among `holders` of the repository where it was found."""
        known = ((holder, self._known.get((leaf, holder))) for holder in (ANONYMOUS, identity.principal))
        pins = [
            pin
            for holder, pin in known
            if pin is not None and holder in holders(pin.reference.repository) and self._is_in_place(leaf, pin)
        ]
        now = time.time()
        # One of a clock that was ahead hides no other.
        return max(pins, key=lambda pin: (pin.at <= now, pin.at), default=None)

    async def _pin(self, leaf: Reference, identity: Identity) -> _Pin:
        pin = self._fresh(leaf, identity)
        if pin is not None:
            return pin
        earlier = self._newest(leaf, identity, lambda _: (ANONYMOUS, identity.principal))
        try:
            asking = self._ask(leaf, identity)
            return await self._access.renew(asking, leaf.repository.host, quickly=earlier is not None)
        except NotFound as gone:
            # A registry may remove what no tag names any more; names that were given for it go on answering it.
            if leaf.digest is None or ANONYMOUS not in self._access.holders_despite(gone, leaf.repository, identity):
                raise
            log.warning("an earlier answer stands in", image=str(leaf), because=gone.message)
            return _Pin(leaf, public=True, at=time.time())
        except (UpstreamError, AccessRefused) as failure:
            error: WaveletError = failure
            stale = self._newest(leaf, identity, lambda where: self._access.holders_despite(error, where, identity))
            if stale is None or not is_within(stale.at, time.time(), self._grace):
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
                alias = self.second_place(alias)
                pin = await self._ask_at(leaf, alias, identity)
            except WaveletError as second:
                raise _of_both(error, alias, second) from None
            log.info("found under another name", image=str(leaf), found=str(alias))
            return pin

    async def _ask_at(self, leaf: Reference, where: Reference, identity: Identity) -> _Pin:
        found, holder = await self._access.ask(where, identity)
        if where.digest is not None and found.digest != where.digest:
            raise UpstreamBroken(f"{where.repository} answered {where.digest} with another digest")
        return self._remember(leaf, where.at(found.digest), holder)

    def _is_in_place(self, leaf: Reference, pin: _Pin) -> bool:
        """Tell whether what was found is where the site would look today: rules for a second place may have changed."""
        if pin.reference.repository == leaf.repository:
            return True
        alias = self._aliased(leaf)
        with contextlib.suppress(WaveletError):
            return alias is not None and self.second_place(alias).repository == pin.reference.repository
        return False

    def _aliased(self, leaf: Reference) -> Reference | None:
        name = str(leaf.repository)
        for alias in self._aliases:
            if name == alias.prefix or name.startswith(alias.prefix + "/"):
                moved = Reference.parse(alias.instead + name[len(alias.prefix) :])
                return replace(leaf, repository=moved.repository)
        return None

    def _remember(self, leaf: Reference, pinned: Reference, holder: Principal) -> _Pin:
        pin = _Pin(pinned, holder == ANONYMOUS, time.time())
        doubt = self._doubted.get(leaf)
        if doubt is not None and doubt.asked is None and doubt.pinned == pinned:
            self._doubted[leaf] = replace(doubt, asked=pin.at)
        else:
            self._doubted.pop(leaf, None)
        # Who goes on with what was found asks for it by its digest, and need not ask the registry once more.
        for asked in {leaf, pinned}:
            self._known[asked, holder] = pin
            row = (str(asked), str(holder), str(pinned), pin.at)
            self._database.write_later("INSERT OR REPLACE INTO pins VALUES (?, ?, ?, ?)", *row)
        return pin


def _of_both(error: WaveletError, alias: Reference, second: WaveletError) -> WaveletError:
    """Return the error of an image that was looked for in two places: undecided if the second one is."""
    undecided = isinstance(second, UpstreamError) or (isinstance(second, AccessRefused) and second.declined)
    said = f"{error.message}; also looked for it at {alias}: {second.message}"
    return (second if undecided else error).with_message(said)


def _pinned(image: RegistryImage, pin: _Pin) -> Pinned:
    return Pinned(replace(image, reference=pin.reference), pin.public)


class OwnImages(Protocol):
    """Images that this daemon hosts itself: their tags are looked up each time, for nobody has to be asked."""

    def has(self, repository: Repository) -> bool:
        """Tell whether a repository is one of its own."""

    def find(self, reference: Reference, identity: Identity) -> tuple[Reference, bool] | None:
        """Return a reference as it is pinned for an identity, and whether all may read that; None: it is not here."""

    async def pin(self, reference: Reference, identity: Identity) -> tuple[Reference, bool]:
        """Return the same.

        Raises:
            ImageNotFound: it is not here.
        """


class RegistryImages(Kind[RegistryImage]):
    """See the module."""

    node = RegistryImage
    preparation = Preparation.LOOKED_AT

    def __init__(self, tags: Pinner, settings: Settings, own: OwnImages | None = None) -> None:
        self._tags = tags
        self._own = own
        self.configure(settings)()

    def configure(self, settings: Settings) -> Apply:
        """See `Kind`."""

        def apply() -> None:
            self._mislabelled = settings.upstream.mislabelled

        return apply

    def fresh(self, asked: RegistryImage, fixed: RegistryImage, identity: Identity) -> Pinned | None:
        """See `Kind`."""
        if self._own is not None and self._own.has(asked.reference.repository):
            found = self._own.find(asked.reference, identity)
            return None if found is None else Pinned(replace(asked, reference=found[0]), public=found[1])
        return self._tags.fresh(asked, identity)

    async def pin(self, asked: RegistryImage, fixed: RegistryImage, work: PinWork) -> Pinned:
        """See `Kind`."""
        if self._own is not None and self._own.has(asked.reference.repository):
            reference, public = await self._own.pin(asked.reference, work.identity)
            return Pinned(replace(asked, reference=reference), public)
        return await self._tags.pin(asked, work.identity)

    def is_doubted(self, asked: RegistryImage) -> bool:
        """See `Kind`."""
        return self._tags.is_doubted(asked)

    async def make(self, node: RegistryImage, work: Work) -> Image:
        """See `Kind`."""
        return await maker.make(node, work, mislabelled=self._mislabelled)
