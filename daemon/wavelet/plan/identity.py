"""The identity of who asks: it travels beside a plan and never becomes part of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

from wavelet.plan.principal import Principal


@dataclass(frozen=True, slots=True)
class Login:
    """A user name and secret for a registry. Never shown: its representation leaves the secret out.

    An empty user name means that `secret` is an identity (refresh) token (docker's `identitytoken`).
    """

    username: str
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Identity:
    """An asking party.

    Attributes:
        uid: the local user, or None for nobody in particular.
        login: what the client itself sent with this request, which then speaks for it alone.
        login_key: a keyed hash of `login`, to tell identities apart without their secret.
    """

    uid: int | None = None
    login: Login | None = None
    login_key: str = ""

    @property
    def principal(self) -> Principal:
        """For whom grants are remembered and names are given that this identity asks for."""
        return Principal(self.uid) if self.login is None else Principal(login_key=self.login_key)

    @classmethod
    def of(cls, principal: Principal) -> Self:
        """Return the identity under which the work for a name of `principal` is done.

        Raises:
            ValueError: it is that of a login, for which no names are given: who has only its hash cannot ask with it.
        """
        if principal.login_key is not None:
            raise ValueError(f"no names are given for {principal}")
        return cls(principal.uid)


NOBODY = Identity()
