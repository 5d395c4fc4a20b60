"""A principal: for whom a name is given, and whom an upstream has granted to read.

It is everybody, a local user, or whoever sends a certain login. Its text, which stands in records, tokens, tables and
the audit log, is `anonymous`, `uid:<number>` or `login:<keyed hash>`; it is never a secret.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
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
