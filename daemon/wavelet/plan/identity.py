"""Who asks. An identity travels beside a plan and never becomes part of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from wavelet.plan.tokens import ANONYMOUS


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
    def principal(self) -> str:
        """The name under which grants are remembered and tokens are bound. It is never a secret."""
        if self.login is not None:
            return f"login:{self.login_key}"
        return ANONYMOUS if self.uid is None else f"uid:{self.uid}"


NOBODY = Identity()
