"""Session credentials: logins that users have stored here, each for that user alone, for a time, in memory only.

With a shared directory, other nodes have them too, sealed (`wavelet.cluster.secrets`). What lies there then counts on
all nodes, looked at again after `SEEN_FOR` seconds: so long a login may work on after it was taken back elsewhere.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import structlog

from wavelet.cluster.secrets import LONGEST_LIFETIME, ExpiringLogin, Secrets
from wavelet.errors import InvalidRequest, NoSpace, OurError
from wavelet.image.reference import Repository, valid_host, valid_path
from wavelet.plan.tokens import Identity, Login
from wavelet.upstream.auth_files import normal_key, prefixes
from wavelet.upstream.credential_sources import NOTHING, Offer, offered_to, user_of

DEFAULT_LIFETIME = 12 * 3600.0
"""Seconds that a login is kept if nothing else is said."""

PER_USER = 64
"""Logins of one user, at the most."""

USERS = 1024
"""Users whose logins are held on one node, at the most."""

SEEN_FOR = 10.0
"""Seconds after which the shared directory is looked at again."""

STANDS = 3600.0
"""Seconds for which what was read last stands in for a shared directory that does not answer."""

NAME_LIMIT = 1024
SECRET_LIMIT = 64 * 1024

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class StoredLogin:
    """A login without its secret.

    Attributes:
        registry: host, or host and path.
        username: empty for an identity token.
        until: when it ends, in unix seconds.
        shared: whether other nodes have it.
    """

    registry: str
    username: str
    until: float
    shared: bool


@dataclass(slots=True)
class _User:
    """One user's logins by registry: those of this node alone, and those read from the shared directory."""

    here: dict[str, ExpiringLogin] = field(default_factory=dict)
    shared: dict[str, ExpiringLogin] = field(default_factory=dict)
    read_at: float = -math.inf
    looked_at: float = -math.inf
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    def drop_ended(self, now: float) -> None:
        """Forget logins that have ended."""
        self.here = {registry: kept for registry, kept in self.here.items() if kept.is_valid(now)}
        self.shared = {registry: kept for registry, kept in self.shared.items() if kept.is_valid(now)}


class SessionCredentials:
    """All logins that were stored for a session, as this node knows them. For one event loop."""

    personal = True

    def __init__(self, secrets: Secrets | None, clock: Callable[[], float] = time.time) -> None:
        """With `secrets`, nodes share what they are handed; `clock` gives unix seconds."""
        self._secrets = secrets
        self._clock = clock
        self._users: OrderedDict[int, _User] = OrderedDict()

    async def store(self, uid: int, registry: str, login: Login, lifetime: float) -> float:
        """Keep a login of `uid` for a registry (host or host/path) and return when it ends, in unix seconds.

        It takes the place of the one before; the same one again does not end sooner than it would have.

        Raises:
            InvalidRequest: a member is wrong, or the user has too many.
            NoSpace: too many users have handed over logins on this node.
        """
        key = parse_registry(registry)
        _check(login, lifetime)
        user = self._user(uid)
        async with user.lock:
            await self._look(uid, user, afresh=True)
            known = user.shared | user.here
            if key not in known and len(known) >= PER_USER:
                raise InvalidRequest(
                    f"registry: {PER_USER} logins of yours are kept already; take one back with `wavelet logout`",
                    field="registry",
                )
            until = self._clock() + lifetime
            if key in known and known[key].login == login:
                until = max(until, known[key].until)
            await self._keep(uid, user, key, ExpiringLogin(login, until))
        return until

    async def _keep(self, uid: int, user: _User, key: str, kept: ExpiringLogin) -> None:
        if self._secrets is not None:
            try:
                await self._secrets.put(uid, key, kept)
            except OurError as error:
                log.warning("a login is kept on this node only", registry=key, uid=uid, because=error.message)
            else:
                user.here.pop(key, None)
                user.shared[key] = kept
                return
        user.here[key] = kept

    async def revoke(self, uid: int, registry: str) -> int:
        """Forget a login of `uid`, or all of them if `registry` is empty, on all nodes; return how many.

        Raises:
            InvalidRequest: `registry` names none.
            OurError: it cannot be removed from the shared directory.
        """
        key = parse_registry(registry) if registry else ""
        user = self._user(uid)
        async with user.lock:
            failure = await self._look(uid, user, afresh=True)
            known = user.shared.keys() | user.here.keys()
            wanted = known & {key} if key else known
            for each in wanted:
                user.here.pop(each, None)
                user.shared.pop(each, None)
            if self._secrets is not None:
                await self._remove(self._secrets, uid, wanted, failure)
        return len(wanted)

    async def _remove(self, secrets: Secrets, uid: int, registries: Iterable[str], failure: OurError | None) -> None:
        try:
            if failure is not None:
                raise failure  # what the directory has is not known
            for registry in registries:
                await secrets.remove(uid, registry)
        except OurError as error:
            message = f"forgotten on this node, but other nodes may still use it; try again: {error.message}"
            raise error.with_message(message) from None

    async def stored(self, uid: int) -> list[StoredLogin]:
        """Return the logins of `uid` without their secrets, by registry."""
        user = await self._known(uid)
        if user is None:
            return []
        known = user.shared | user.here
        return [
            StoredLogin(registry, known[registry].login.username, known[registry].until, registry not in user.here)
            for registry in sorted(known)
        ]

    async def find(self, repository: Repository, uid: int) -> Login | None:
        """Return the login of `uid` for a repository: that of the longest match, as in auth files."""
        user = await self._known(uid)
        if user is None:
            return None
        known = user.shared | user.here
        return next((known[key].login for key in prefixes(repository) if key in known), None)

    async def logins(self, repository: Repository, identity: Identity) -> Offer:
        """See `CredentialSource`."""
        uid = user_of(identity)
        login = None if uid is None else await self.find(repository, uid)
        return NOTHING if uid is None or login is None else Offer((offered_to(uid, login),))

    async def version(self, identity: Identity) -> str:
        """See `CredentialSource`."""
        uid = user_of(identity)
        held = [] if uid is None else await self.stored(uid)
        text = "\n".join(f"{each.registry} {each.username} {each.until}" for each in held)
        return hashlib.sha256(text.encode()).hexdigest()[:16] if held else ""

    def expire(self) -> None:
        """Forget what has ended, and what was read of the shared directory long ago."""
        now = self._clock()
        for uid, user in list(self._users.items()):
            user.drop_ended(now)
            if not self._stands(user):
                user.shared = {}
            if not (user.here or user.shared or user.lock.locked()):
                del self._users[uid]

    # -- what this node knows -----------------------------------------------------------------------------------------

    async def _known(self, uid: int) -> _User | None:
        user = self._users.get(uid)
        if self._secrets is None:
            if user is not None:
                user.drop_ended(self._clock())
            return user
        if user is None:
            try:
                user = self._user(uid)
            except NoSpace:
                return None
        async with user.lock:
            await self._look(uid, user)
        return user

    def _user(self, uid: int) -> _User:
        """Return what is known of `uid`; of others, what can be read again makes room.

        Raises:
            NoSpace: there is no room.
        """
        user = self._users.get(uid)
        if user is None:
            if len(self._users) >= USERS:
                self.expire()
            if len(self._users) >= USERS:
                idle = (each for each, user in self._users.items() if not (user.here or user.lock.locked()))
                oldest = next(idle, None)
                if oldest is None:
                    raise NoSpace(f"logins of {USERS} users are kept already; ask again when some have ended")
                del self._users[oldest]
            user = self._users[uid] = _User()
        self._users.move_to_end(uid)
        return user

    async def _look(self, uid: int, user: _User, *, afresh: bool = False) -> OurError | None:
        """Bring what is known up to date; while the shared directory does not answer, what was read last stands.

        Returns why it does not answer, if it does not.
        """
        now = self._clock()
        failure = None
        if self._secrets is not None and (afresh or not 0 <= now - user.looked_at < SEEN_FOR):
            user.looked_at = now
            try:
                user.shared = await self._secrets.of(uid)
                user.read_at = now
            except OurError as error:
                failure = error
                log.warning("logins of other nodes cannot be looked for", uid=uid, because=error.message)
                if not self._stands(user):
                    user.shared = {}
        user.drop_ended(now)
        return failure

    def _stands(self, user: _User) -> bool:
        return 0 <= self._clock() - user.read_at < STANDS


def parse_registry(text: str) -> str:
    """Return a registry, or a path of one, in the normal form of auth files.

    Raises:
        InvalidRequest: it is neither.
    """
    key = normal_key(text.strip())
    host, slash, path = key.partition("/")
    if not valid_host(host) or (slash and not valid_path(path)):
        raise InvalidRequest(f"registry: {text[:200]!r} is not HOST or HOST/PATH", field="registry")
    return key


def _check(login: Login, lifetime: float) -> None:
    """Check what is handed over; the messages leave the secret out.

    Raises:
        InvalidRequest: see `SessionCredentials.store`.
    """
    name = login.username
    if len(name) > NAME_LIMIT or ":" in name or not name.isprintable():
        raise InvalidRequest("username: is too long, or has a colon or a control character", field="username")
    if not login.secret or len(login.secret) > SECRET_LIMIT or not login.secret.isprintable():
        raise InvalidRequest("secret: is empty or too long, or has a control character", field="secret")
    if not 0 < lifetime <= LONGEST_LIFETIME:
        days = LONGEST_LIFETIME / 86400
        raise InvalidRequest(f"lifetime: is more than 0 and at most {days:.0f} days", field="lifetime")
