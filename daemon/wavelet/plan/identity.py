"""Who asks, and for whom: the identity of who asks, and the principal that a name is given to, or content granted.

An identity travels beside a plan and never becomes part of it. A principal is everybody, a local user, or whoever sends
a certain login; its text, which stands in records, tokens, tables and the audit log, is `anonymous`, `uid:<number>` or
`login:<keyed hash>`, and never a secret.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Self

_ANONYMOUS = "anonymous"
_USER = re.compile(r"uid:(0|[1-9][0-9]{0,9})")
_LOGIN = re.compile(r"login:(.*)")


@dataclass(frozen=True, slots=True)
class Principal:
    """A principal; with neither attribute it is everybody. `str` writes its text, and `parse` reads that.

    Attributes:
        uid: the number of a local user.
        login_key: the keyed hash of a login.
    """

    uid: int | None = None
    login_key: str | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the principal with this text.

        Raises:
            ValueError: there is none.
        """
        if text == _ANONYMOUS:
            return cls()
        if user := _USER.fullmatch(text):
            return cls(uid=int(user[1]))
        if login := _LOGIN.fullmatch(text):
            return cls(login_key=login[1])
        raise ValueError(f"{text[:80]!r} is no principal")

    def __str__(self) -> str:
        """Return its text."""
        if self.login_key is not None:
            return f"login:{self.login_key}"
        return _ANONYMOUS if self.uid is None else f"uid:{self.uid}"


ANONYMOUS = Principal()
"""Everybody: the principal of content that all may read."""


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
