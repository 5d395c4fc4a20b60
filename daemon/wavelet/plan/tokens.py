"""Tokens, the names of container requests, and the identities and principals that they are for.

An identity travels beside a plan and never becomes part of it. A principal is everybody, a local user, or whoever sends
a certain login; its text, which stands in records, tokens, tables and the audit log, is `anonymous`, `uid:<number>` or
`login:<keyed hash>`, and never a secret.

A token is an HMAC-SHA256 under the cluster's key, cut to 128 bits: it cannot be guessed without the key, and whoever
holds what it was made of and the key can check it. Equal requests with an equal pin have equal tokens on every node of
a cluster. Where the pin is not known in time, a nonce stands in its place. A token is pulled by
`<authority>/wt/<token>/<path>:<tag>`, where the label of the plan says path and tag.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
from dataclasses import dataclass, field
from typing import Self

from wavelet.errors import InvalidName, InvalidRequest
from wavelet.plan.canonical import Pin, canonical
from wavelet.plan.delivery import FROZEN
from wavelet.plan.node import Node

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


KEY_BYTES = 32
NONCE_BYTES = 16

_TOKEN = re.compile(r"[0-9a-f]{32}")
_FORM = b"2"

_TOKEN_LENGTH = 32
_ENGINE_LIMIT = 255
"""Characters of host and repository path together that engines accept (distribution/reference, NameTotalLengthMax)."""


def decided_token(cluster_key: bytes, plan: Node, pin: Pin, principal: Principal) -> str:
    """Return the token, 32 hexadecimal digits, of a plan that is pinned."""
    return _token(cluster_key, b"pin " + pin.name.encode(), plan, principal)


def undecided_token(cluster_key: bytes, plan: Node, nonce: str, principal: Principal) -> str:
    """Return the token of a plan whose pin is not known; `nonce` is hexadecimal, and used for one name only."""
    return _token(cluster_key, b"nonce " + nonce.encode(), plan, principal)


def _token(cluster_key: bytes, decided_by: bytes, plan: Node, principal: Principal) -> str:
    # No part has a zero byte in it.
    message = b"\0".join((_FORM, decided_by, canonical(plan), str(principal).encode()))
    return hmac.new(cluster_key, message, hashlib.sha256).hexdigest()[:32]


def asked_token(cluster_key: bytes, plan: Node, principal: Principal) -> str:
    """Return the token that versions before 0.2 gave, by what was asked alone. It is read, and never given again."""
    message = canonical(plan) + b"\0" + str(principal).encode()
    return hmac.new(cluster_key, message, hashlib.sha256).hexdigest()[:32]


def well_formed(token: str) -> bool:
    """Tell whether `token` could be one of ours."""
    return _TOKEN.fullmatch(token) is not None


def target_name(authority: str, token: str, plan: Node) -> str:
    """Return the name under which engines pull what a container request asks for.

    The SIF of a mirrored image has a name of this node: what goes to the other registry is the image as it is.
    """
    delivery, scheme = plan.delivery, "oras://" if plan.is_file else ""
    if delivery is not None and not (plan.is_file and delivery.mode == "mirror"):
        return f"{scheme}{delivery.name(authority, token)}"
    return f"{scheme}{authority}/wt/{token}/{plan.label.text}"


def check_name(authority: str, plan: Node) -> None:
    """Make sure that what is asked for can be called so, and that engines accept the name.

    Raises:
        InvalidName: with what stands in front of it the repository's name is too long for them.
        InvalidRequest: it is to be pushed to this registry, which has the names of others.
    """
    repository = None if plan.delivery is None else plan.delivery.repository
    if plan.delivery is not None and repository is not None and names_same(repository.host, authority):
        instead = (
            "name another one to mirror to"
            if plan.delivery.mode == "mirror"
            else f"leave it out, and frozen images are {FROZEN}/… there"
        )
        raise InvalidRequest(
            f"buildRepository: {authority} is wavelet's own registry, to which nothing has to be pushed; {instead}",
            field="buildRepository",
        )
    name = target_name(authority, "0" * _TOKEN_LENGTH, plan).removeprefix("oras://")
    length, path = len(name) - len(_tag_of(name)), plan.label.path
    if length <= _ENGINE_LIMIT:
        return
    if repository is not None:
        raise InvalidName(
            f"buildRepository: the name {name[:80]}… has {length} characters without its tag; registries and container "
            f"engines take {_ENGINE_LIMIT} at most",
            field="buildRepository",
        )
    room = _ENGINE_LIMIT - (length - len(path))
    raise InvalidName(
        f"containerImage: the repository path has {len(path)} characters; behind a token, container engines take "
        f"{room} at most, so pull this image by its own name",
        field="containerImage",
    )


def names_same(host: str, authority: str) -> bool:
    """Tell whether two addresses are the same, also where each names this machine's loopback in another way."""
    one, other = host.rpartition(":"), authority.rpartition(":")
    return host == authority or (one[2] == other[2] and _is_loopback(one[0]) and _is_loopback(other[0]))


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _tag_of(name: str) -> str:
    """Return the tag, or the digest, of a full name, with the sign before it."""
    rest = name.rpartition("/")[2]
    path = rest.partition("@")[0].partition(":")[0]
    return rest[len(path) :]
