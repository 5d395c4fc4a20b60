"""The rules for whom a caller speaks: pure, from the caller's uid to the identity that reads.

uid 0 on a pull is a container engine, which acts for others: a token says for whom. A daemon that runs as an ordinary
user serves that user and engines, with that user's logins.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Self

from wavelet.config import Apply, Settings
from wavelet.errors import AccessRefused
from wavelet.plan.tokens import ANONYMOUS, NOBODY, Identity, Login, Principal


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is at the other end: the owner of the loopback connection if there is one, and a login that was sent.

    Attributes:
        hidden: whether it is on this node and cannot be told from others there: a wavelet has sent the request, or
            somebody who says so, or has hung up already. It may read what everybody may, and change nothing.
    """

    uid: int | None
    login: Login | None = None
    login_key: str = ""
    hidden: bool = False

    def with_login(self, otherwise: Identity) -> Identity:
        """Return the identity of the login that the client sent, or `otherwise`."""
        return otherwise if self.login is None else Identity(None, self.login, self.login_key)


@dataclass(slots=True)
class AccessRules:
    """The rules of one daemon, which runs as `daemon_uid`.

    Attributes:
        engine_uids: pull for others, as 0 does.
        root_over_http: whether uid 0 is that over HTTP, too; else root may be forwarding connections of others there.
    """

    daemon_uid: int
    engine_uids: Collection[int] = ()
    root_over_http: bool = True

    @classmethod
    def of(cls, daemon_uid: int, settings: Settings) -> Self:
        """Return the rules that the settings make."""
        rules = cls(daemon_uid)
        rules.configure(settings)()
        return rules

    def configure(self, settings: Settings) -> Apply:
        """See `Configurable`: who is a container engine."""

        def apply() -> None:
            self.engine_uids = frozenset(settings.engine_uids)
            self.root_over_http = settings.http_root == "engine"

        return apply

    def over_http(self, uid: int | None) -> int | None:
        """Return whom the owner of a connection over HTTP speaks for; None for nobody in particular."""
        return None if uid == 0 and not self.root_over_http else uid

    def admit(self, caller: Caller) -> None:
        """Return if this daemon serves the caller at all.

        Raises:
            AccessRefused: an ordinary user's daemon, and another user.
        """
        if (
            self.daemon_uid != 0
            and caller.uid is not None
            and caller.uid not in (0, self.daemon_uid, *self.engine_uids)
        ):
            raise AccessRefused(
                f"this wavelet belongs to uid {self.daemon_uid} and serves that user and container engines only; "
                f"you are uid {caller.uid}: start your own, or ask for one that runs as root"
            )

    def fill_engine(self, uid: int | None, *, admin: bool) -> None:
        """Return if a caller may have the daemon fill a container engine of this node.

        The daemon speaks to the engine as itself, so nobody may who could not do so by themselves.

        Raises:
            AccessRefused: it may not.
        """
        if not admin and uid not in (0, self.daemon_uid):
            message = (
                "target: the engine is not yours, as far as the daemon can tell; call this over the socket for "
                "administration, or prefetch into the store and let the engine pull from there"
            )
            raise AccessRefused(message, field="target")

    def request_identity(self, caller: Caller) -> Identity:
        """Return the identity of one who requests a container: the user; root's request is root's own."""
        if caller.uid is None:
            return NOBODY
        return Identity(caller.uid if self.daemon_uid == 0 else self.daemon_uid)

    def pull_identity(self, caller: Caller) -> Identity:
        """Return the identity of one who pulls a name without a token: an engine speaks for nobody in particular."""
        if caller.login is None and self.daemon_uid == 0 and self._is_engine(caller):
            return NOBODY
        return caller.with_login(self.request_identity(caller))

    def token_identity(self, caller: Caller, principal: Principal) -> Identity:
        """Return the identity that a token of `principal` gives to this caller.

        Raises:
            AccessRefused: the token is another user's.
        """
        if principal == ANONYMOUS:
            return NOBODY
        if caller.uid == principal.uid or self._is_engine(caller):
            return Identity.of(principal)
        if caller.login is not None:
            return caller.with_login(NOBODY)
        raise AccessRefused(
            "this name belongs to another user: its image is private. Request your own, or let an engine pull it"
        )

    def may_see(self, identity: Identity, principal: Principal) -> bool:
        """Tell whether `identity` may be told of a token's request."""
        return principal == ANONYMOUS or self.may_evict(identity, principal)

    def may_see_all(self, identity: Identity) -> bool:
        """Tell whether `identity` may be told of everybody's requests: root, and the daemon's own user."""
        return identity.uid is not None and identity.uid in (0, self.daemon_uid)

    def may_evict(self, identity: Identity, principal: Principal) -> bool:
        """Tell whether `identity` may evict a token: the owner, root, and the daemon's own user."""
        owners = principal, Principal(0), Principal(self.daemon_uid)
        return identity.uid is not None and identity.principal in owners

    def pulls_for_others(self, caller: Caller) -> bool:
        """Tell whether a caller is a container engine, or the user whose own daemon this is."""
        return self._is_engine(caller) or (caller.uid is not None and caller.uid == self.daemon_uid)

    def _is_engine(self, caller: Caller) -> bool:
        return caller.uid == 0 or (caller.uid is not None and caller.uid in self.engine_uids)
