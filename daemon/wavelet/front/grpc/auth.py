"""Logins in requests, as CRI's `AuthConfig` (k8s.io/cri-api): kept for a while, for the caller alone."""

from __future__ import annotations

from wavelet.errors import InvalidRequest, NotServed
from wavelet.front.base64_text import decoded
from wavelet.front.grpc.peer import Peer
from wavelet.plan.node import Node, repositories
from wavelet.plan.tokens import Login
from wavelet.upstream.credentials import Logins
from wavelet.v1 import containers_pb2 as pb

LIFETIME = 3600.0
"""Seconds for which a request's login is kept."""


async def keep(auth: pb.AuthConfig, plan: Node, peer: Peer, logins: Logins) -> None:
    """Keep a request's login for its caller.

    Raises:
        AccessRefused: the caller is nobody in particular.
        InvalidRequest: it is no login, or does not say for which registry.
        NotServed: it is a bearer token.
    """
    uid, login = peer.user(), login_of(auth)
    registry = auth.server_address or next((repository.host for repository in repositories(plan)), "")
    if not registry:
        message = "auth.serverAddress: is missing; it is the host of the registry that the login is for"
        raise InvalidRequest(message, field="auth.serverAddress")
    await logins.store(uid, registry, login, LIFETIME)


def login_of(auth: pb.AuthConfig) -> Login:
    """Return the login that a message holds. See `keep` for the errors."""
    if auth.registry_token:
        message = "auth.registryToken: this version of wavelet sends no bearer tokens of others; give a password"
        raise NotServed(message, field="auth.registryToken")
    if auth.identity_token:
        return Login("", auth.identity_token)
    if auth.username or auth.password:
        return _filled(auth.username, auth.password, "auth.username")
    username, _, password = decoded(auth.auth, "auth.auth").partition(":")
    return _filled(username, password, "auth.auth")


def _filled(username: str, password: str, field: str) -> Login:
    if not username or not password:
        message = f"{field}: a login is a user name and a password, or an identityToken"
        raise InvalidRequest(message, field=field)
    return Login(username, password)
