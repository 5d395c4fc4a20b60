"""The logins that there are for a repository: a chain of sources, asked in their order.

The site's logins for all come first; then the identity's own: what its request brought, else what the user has stored
here for a session, and what the user's auth files have; then the site's logins for listed users. What everybody may
read is so found to be so before anything that is somebody's alone is used.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Literal

import structlog
from cachetools import LRUCache

from wavelet.cluster.secrets import Secrets
from wavelet.config import Apply, Settings
from wavelet.image.reference import Repository
from wavelet.plan.tokens import Identity, Login
from wavelet.upstream.credential_sources import (
    NOTHING,
    AuthFileCredentials,
    CredentialSource,
    Granted,
    Offer,
    OfferedLogin,
    SiteCredentials,
)
from wavelet.upstream.helpers import Helpers
from wavelet.upstream.session_credentials import DEFAULT_LIFETIME, SessionCredentials, StoredLogin, parse_registry

HELPER_PATIENCE = 1.0
"""Seconds for which a helper is waited for where it matters only whether there may be a login."""

_WARNINGS_HELD = 1000

_log = structlog.get_logger(__name__)


class RequestCredentials:
    """The login that a request has brought, which speaks for it alone."""

    personal = True

    async def logins(self, repository: Repository, identity: Identity) -> Offer:
        """See `CredentialSource`."""
        del repository
        if identity.login is None:
            return NOTHING
        return Offer((OfferedLogin(identity.login, Granted(public=False, by="the client's own login")),))

    async def version(self, identity: Identity) -> str:
        """Return an empty text: it is the identity itself that another login changes."""
        del identity
        return ""


class Logins:
    """All logins that this daemon may use, and for whom.

    Attributes:
        on_event: called when a user stores or revokes logins, with the user and the registry ("" for all).
    """

    def __init__(self, settings: Settings, secrets: Secrets | None = None) -> None:
        """With `secrets`, what users store is shared with other nodes."""
        self.on_event: Callable[[Literal["login", "logout"], int, str], None] = lambda _what, _uid, _registry: None
        self._helpers = helpers = Helpers()
        self._session = SessionCredentials(secrets)
        self._files = AuthFileCredentials(helpers)
        self._for_all = for_all = SiteCredentials(settings, helpers, listed=False)
        for_listed = SiteCredentials(settings, helpers, listed=True)
        self._site = (for_all, for_listed)
        self._sources: tuple[CredentialSource, ...] = (
            for_all, RequestCredentials(), self._session, self._files, for_listed,
        )  # fmt: skip
        self._warned: LRUCache[str, bool] = LRUCache(_WARNINGS_HELD)

    def configure(self, settings: Settings) -> Apply:
        """See `Configurable`: the site's own logins."""
        applies = [source.configure(settings) for source in self._site]

        def apply() -> None:
            for each in applies:
                each()

        return apply

    # -- what users store ---------------------------------------------------------------------------------------------

    async def store(self, uid: int, registry: str, login: Login, lifetime: float = DEFAULT_LIFETIME) -> float:
        """Keep a login of `uid` for `lifetime` seconds; see `SessionCredentials.store`."""
        until = await self._session.store(uid, registry, login, lifetime)
        self.on_event("login", uid, parse_registry(registry))
        return until

    async def revoke(self, uid: int, registry: str) -> int:
        """Forget a login of `uid`, or all if `registry` is empty; see `SessionCredentials.revoke`."""
        count = await self._session.revoke(uid, registry)
        self.on_event("logout", uid, registry)
        return count

    async def stored(self, uid: int) -> list[StoredLogin]:
        """Return what `uid` has stored, without the secrets."""
        return await self._session.stored(uid)

    def expire(self) -> None:
        """Forget what was stored and has ended."""
        self._session.expire()

    def close(self) -> None:
        """Begin nothing more."""
        self._helpers.close()
        self._files.close()

    # -- what there is for a repository -------------------------------------------------------------------------------

    async def offers(
        self, repository: Repository, identity: Identity, *, personal: bool = True, for_push: bool = False
    ) -> AsyncGenerator[OfferedLogin, None]:
        """Yield the logins for `repository` in their order, each once; without `personal`, the site's only.

        `for_push` is for what changes a repository: the identity's own go before the site's for all, and those only
        where the site means them for that (`SiteCredentials.push_problem`). A source is asked when its turn has come.
        What cannot be used is left out, with a warning in the log.
        """
        seen: set[OfferedLogin] = set()
        sources = sorted(self._sources, key=lambda source: for_push and not source.personal)
        for source in sources:
            if for_push and source is self._for_all and self._for_all.push_problem(repository, identity) is not None:
                continue
            if personal or not source.personal:
                for offered in await self._of(source, repository, identity):
                    if offered not in seen:
                        seen.add(offered)
                        yield offered

    async def own(self, repository: Repository, identity: Identity) -> list[Login]:
        """Return the identity's own logins: the one that its request brought, else what the user has here."""
        sources = [source for source in self._sources if source.personal]
        offered = [each for source in sources for each in await self._of(source, repository, identity)]
        return list(dict.fromkeys(each.login for each in offered if each.login is not None))

    async def _of(
        self, source: CredentialSource, repository: Repository, identity: Identity
    ) -> tuple[OfferedLogin, ...]:
        offer = await source.logins(repository, identity)
        for problem in offer.problems:
            if problem not in self._warned:
                self._warned[problem] = True
                _log.warning("a login cannot be used", because=problem)
        return offer.logins

    async def problems(self, repository: Repository, identity: Identity, *, for_push: bool = False) -> list[str]:
        """Return which logins there may be for a repository and cannot be used, each with the reason."""
        offers = [await source.logins(repository, identity) for source in self._sources]
        unmeant = self._for_all.push_problem(repository, identity) if for_push else None
        found = [problem for offer in offers for problem in offer.problems]
        return list(dict.fromkeys(found if unmeant is None else [*found, unmeant]))

    async def knows(self, repository: Repository, identity: Identity) -> bool:
        """Tell whether the identity may have a login of its own for `repository`; a slow helper may have one."""
        try:
            async with asyncio.timeout(HELPER_PATIENCE):
                return bool(await self.own(repository, identity))
        except TimeoutError:
            return True

    async def version(self, identity: Identity) -> str:
        """Return a fingerprint that changes when the user's logins do; empty if there are none."""
        return "".join([await source.version(identity) for source in self._sources])
