"""Who calls: from a connection's address, as the forwarders give it, to an identity."""

from __future__ import annotations

import functools
import os
import re
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import grpc.aio

from wavelet.errors import AccessRefused
from wavelet.plan.identity import Identity
from wavelet.resolve.access import AccessRules, Caller

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"

Door = Literal["user", "admin"]
"""The public sockets."""

_ADDRESS = re.compile(r"unix-abstract:wavelet-[0-9]+-(?P<door>user|admin)-uid(?P<uid>[0-9]+)-[0-9a-f]+")
_REMEDY = "this call is not for callers without a uid, and over TLS there is none; use the daemon's unix socket"


def address_of(door: Door, uid: int, number: str) -> str:
    """Return the abstract address (unix(7)) of a connection that is made for a caller; `number` is its own."""
    return f"\0wavelet-{os.getpid()}-{door}-uid{uid}-{number}"


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
            AccessRefused: this daemon does not serve that user.
        """
        uid, admin = _read(context.peer())
        caller = Caller(self._tls_uid if uid is None else uid)
        self._rules.admit(caller)
        return Peer(caller.uid, admin, self._rules.asking(caller))


@functools.lru_cache(maxsize=1024)
def _read(address: str) -> tuple[int | None, bool]:
    found = _ADDRESS.fullmatch(address)
    return (None, False) if found is None else (int(found["uid"]), found["door"] == "admin")
