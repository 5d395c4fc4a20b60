"""A source of logins: one of the places that may have a login for a repository, and what it offers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from wavelet.image.reference import Repository
from wavelet.plan.identity import Identity, Login


@dataclass(frozen=True, slots=True)
class Granted:
    """To whom an upstream has granted what it answered.

    Attributes:
        public: readable anonymously, or by a site login that is for all; else only for the identity that asked.
        by: which login it was, for logs; never a secret.
    """

    public: bool
    by: str


@dataclass(frozen=True, slots=True)
class OfferedLogin:
    """A login to try, None for none; and to whom what it opens is granted."""

    login: Login | None
    granted: Granted


ANONYMOUS = OfferedLogin(None, Granted(public=True, by="anonymous"))


@dataclass(frozen=True, slots=True)
class Offer:
    """What a source has for a repository: its logins in their order, and why others that it may have cannot be used."""

    logins: tuple[OfferedLogin, ...] = ()
    problems: tuple[str, ...] = ()


NOTHING = Offer()


class CredentialSource(Protocol):
    """One place that logins come from."""

    @property
    def personal(self) -> bool:
        """Whether they are the asking user's own: a mirror gets none of these."""

    async def logins(self, repository: Repository, identity: Identity) -> Offer:
        """Return what there is for a repository; whatever goes wrong is among the problems."""

    async def version(self, identity: Identity) -> str:
        """Return a fingerprint that changes when the identity's own logins do; empty if it has none here."""


def user_of(identity: Identity) -> int | None:
    """Return the uid whose own logins count; None for nobody, and where a request's own login speaks for it alone."""
    return None if identity.login is not None else identity.uid


def offered_to(uid: int, login: Login) -> OfferedLogin:
    """Return the offer of a user's own login, which counts for that user alone."""
    return OfferedLogin(login, Granted(public=False, by=f"login of uid {uid}"))
