"""Secrets: logins that users hand over on one node and need on another, and their sealed form.

A sealed login is a line in clear (form, when it ends, registry), a random nonce, and user name and secret under
AES-256-GCM. The line and the uid are the associated data, and the name under which it is kept has to follow from both:
what is changed, kept longer, renamed or given to another user does not open. The keys come from the cluster's by HKDF
(RFC 5869).

No login is kept in memory here; who may use one is decided elsewhere.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import msgspec

from wavelet.lazy_module import LazyModule
from wavelet.plan.tokens import Login
from wavelet.quantities import SKEW

if TYPE_CHECKING:
    from cryptography import exceptions
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.ciphers import aead
    from cryptography.hazmat.primitives.kdf import hkdf
else:  # a daemon without a shared directory has nothing to seal, and starts sooner
    exceptions = LazyModule("cryptography.exceptions")
    hashes = LazyModule("cryptography.hazmat.primitives.hashes")
    aead = LazyModule("cryptography.hazmat.primitives.ciphers.aead")
    hkdf = LazyModule("cryptography.hazmat.primitives.kdf.hkdf")

LONGEST_LIFETIME = 7 * 86400.0
"""Seconds that a login may be kept. One that is to end later is of a clock that was wrong."""

_FORM = b"1"
_INFO = b"wavelet sealed logins, form 1"
_NONCE_BYTES = 12


@dataclass(frozen=True, slots=True)
class ExpiringLogin:
    """A login and when it ends, in unix seconds."""

    login: Login
    until: float

    def is_valid(self, now: float) -> bool:
        """Tell whether it may be used: it has not ended, and ends no later than one that begins now."""
        return now < self.until <= now + LONGEST_LIFETIME + SKEW


class Secrets(Protocol):
    """A keeper of sealed logins. All methods are safe to call at once, from several nodes."""

    async def put(self, uid: int, registry: str, login: ExpiringLogin) -> None:
        """Let all nodes have a login of `uid` for a registry; it takes the place of the one before.

        Raises:
            WaitExpired, NoSpace, OurError: the place cannot be written.
        """

    async def of(self, uid: int) -> dict[str, ExpiringLogin]:
        """Return the logins of `uid` by registry. What has ended is removed; what is not authentic is logged.

        Raises:
            WaitExpired, NoSpace, OurError: the place cannot be read.
        """

    async def remove(self, uid: int, registry: str) -> None:
        """Take back a login of `uid`.

        Raises:
            WaitExpired, NoSpace, OurError: the place cannot be written.
        """


class Sealer:
    """The cipher for the logins of a cluster, and the names under which they are kept."""

    def __init__(self, cluster_key: bytes) -> None:
        derived = hkdf.HKDF(algorithm=hashes.SHA256(), length=64, salt=None, info=_INFO).derive(cluster_key)
        self._cipher = aead.AESGCM(derived[:32])
        self._name_key = derived[32:]

    def folder_of(self, uid: int) -> str:
        """Return under which name the logins of `uid` are kept."""
        return self._name(str(uid))

    def name_of(self, uid: int, registry: str) -> str:
        """Return under which name, within the user's, a login is kept."""
        return self._name(f"{uid} {registry}")

    def _name(self, text: str) -> str:
        return hmac.new(self._name_key, text.encode(), hashlib.sha256).hexdigest()

    def seal(self, uid: int, registry: str, login: ExpiringLogin) -> bytes:
        """Return the sealed form of a login."""
        head = b" ".join((_FORM, repr(login.until).encode(), registry.encode()))
        nonce = secrets.token_bytes(_NONCE_BYTES)
        secret = msgspec.json.encode((login.login.username, login.login.secret))
        return head + b"\n" + nonce + self._cipher.encrypt(nonce, secret, _bound(head, uid))

    def unseal(self, uid: int, name: str, data: bytes) -> tuple[str, ExpiringLogin] | None:
        """Return the registry and the login that `data` has, which was kept under `name`; None: it is not authentic."""
        head, _, body = data.partition(b"\n")
        try:
            secret = self._cipher.decrypt(body[:_NONCE_BYTES], body[_NONCE_BYTES:], _bound(head, uid))
            _, until, registry = head.decode().split(" ")
            username, password = msgspec.json.decode(secret, type=tuple[str, str])
            login = ExpiringLogin(Login(username, password), float(until))
        except (exceptions.InvalidTag, ValueError):
            return None
        return (registry, login) if name == self.name_of(uid, registry) else None


def _bound(head: bytes, uid: int) -> bytes:
    """Return the associated data: what a login is sealed for."""
    return b"%d %b" % (uid, head)
