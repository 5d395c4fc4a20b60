"""The peer of a call: from a connection's address, as the forwarders give it, to an identity."""

from __future__ import annotations

import functools
import os
import re
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias

import grpc.aio

from wavelet.errors import AccessRefused
from wavelet.host.uids import unreadable
from wavelet.plan.tokens import Identity
from wavelet.requests.access import AccessRules, Caller

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"

Door = Literal["user", "admin"]
"""The public sockets."""

_ADDRESS = re.compile(r"unix-abstract:wavelet-[0-9]+-(?P<door>user|admin)-(?:uid(?P<uid>[0-9]{1,10})|nobody)-[0-9a-f]+")
_TLS = re.compile(r"ipv[46]:.+", re.DOTALL)
_REMEDY = (
    "this call is not for callers without a uid: over TLS there is none, nor has a user one who is not in the user "
    "namespace of the daemon; use the daemon's unix socket, as a user that it has"
)


def address_of(door: Door, uid: int | None, number: str) -> str:
    """Return the abstract address (unix(7)) of a connection that is made for a caller; `number` is its own."""
    who = "nobody" if uid is None else f"uid{uid}"
    return f"\0wavelet-{os.getpid()}-{door}-{who}-{number}"


class _Read(NamedTuple):
    """What an address says: the user if there is one, and by which way the call came."""

    uid: int | None
    by: Literal["user", "admin", "tls"]


@dataclass(frozen=True, slots=True)
class Peer:
    """A caller.

    Attributes:
        uid: the local user; None for nobody in particular.
        admin: whether the call came over the socket for administration.
        identity: for whom it asks.
    """

    uid: int | None
    admin: bool
    identity: Identity

    def user(self) -> int:
        """Return the uid that logins are kept for.

        Raises:
            AccessRefused: it is nobody in particular.
        """
        if self.identity.uid is None:
            raise AccessRefused(_REMEDY)
        return self.identity.uid


class Peers:
    """Tells who calls. `tls_uid` is whom the clients of the TLS listener act as."""

    def __init__(self, rules: AccessRules, tls_uid: int | None) -> None:
        self._rules = rules
        self._tls_uid = tls_uid

    def of(self, context: Context) -> Peer:
        """Return who calls.

        Raises:
            AccessRefused: this daemon does not serve that user, or cannot tell who it is.
        """
        read = _read(context.peer())
        caller = Caller(self._tls_uid if read.by == "tls" else read.uid)
        self._rules.admit(caller)
        return Peer(caller.uid, read.by == "admin", self._rules.request_identity(caller))


@functools.lru_cache(maxsize=1024)
def _read(address: str) -> _Read:
    """Read a caller's address: a forwarder's, or that of a client of the TLS listener.

    Raises:
        AccessRefused: it is neither.
    """
    found = _ADDRESS.fullmatch(address)
    if found is not None:
        return _Read(
            None if found["uid"] is None else int(found["uid"]), "admin" if found["door"] == "admin" else "user"
        )
    if _TLS.fullmatch(address):
        return _Read(None, "tls")
    raise unreadable(f"the call comes from {address[:100]!a}")
