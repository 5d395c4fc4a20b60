"""A real registry that wants tokens, behind a token server that signs whatever scope `USER` asks for."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import yaml
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from lab import images
from lab.registry import Registry
from wavelet.plan.tokens import Login
from wavelet.upstream.auth import basic

USER = Login("alice", "wonder")


class TokenFront:
    """A real registry that wants tokens, and its token server, on one port.

    Attributes:
        scopes: what each token was asked for.
        lifetime: seconds that a token lives.
    """

    def __init__(self, registry: Registry, key: Path, certificate: Path) -> None:
        self.scopes: list[str] = []
        self.lifetime = 300
        self._registry = registry
        private = serialization.load_pem_private_key(key.read_bytes(), None)
        assert isinstance(private, ec.EllipticCurvePrivateKey)
        self._key = private
        leaf = x509.load_pem_x509_certificate(certificate.read_bytes())
        self._leaf = base64.b64encode(leaf.public_bytes(serialization.Encoding.DER)).decode()

    def application(self) -> web.Application:
        app = web.Application(client_max_size=2**30)
        app.router.add_get("/token", self._token)
        app.router.add_route("*", "/v2/{rest:.*}", self._forward)
        return app

    async def _token(self, request: web.Request) -> web.Response:
        if request.headers.get("Authorization") != basic(USER):
            return web.json_response({}, status=401)
        scopes = request.query.getall("scope")
        self.scopes.append(" ".join(scopes))
        asked = (scope.split(":") for scope in scopes)
        now = int(time.time())
        access = [{"type": kind, "name": name, "actions": actions.split(",")} for kind, name, actions in asked]
        times = {"exp": now + self.lifetime, "nbf": now - 10, "iat": now}
        claims = {"iss": "lab", "sub": "alice", "aud": request.query["service"], "jti": "1", "access": access, **times}
        parts = [{"typ": "JWT", "alg": "ES256", "x5c": [self._leaf]}, claims]
        signed = ".".join(_base64url(json.dumps(part).encode()) for part in parts)
        numbers = decode_dss_signature(self._key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
        signature = b"".join(number.to_bytes(32, "big") for number in numbers)
        return web.json_response({"token": f"{signed}.{_base64url(signature)}", "expires_in": self.lifetime})

    async def _forward(self, request: web.Request) -> web.Response:
        url = f"{self._registry.url}{request.path_qs}"
        async with (
            ClientSession(auto_decompress=False) as session,
            session.request(request.method, url, headers=request.headers, data=request.content) as answer,
        ):
            headers = {name: value for name, value in answer.headers.items() if name != "Transfer-Encoding"}
            return web.Response(status=answer.status, headers=headers, body=await answer.read())


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


@asynccontextmanager
async def token_front(directory: Path, key: Path, certificate: Path) -> AsyncIterator[tuple[str, TokenFront]]:
    """Give the host of a real registry that wants tokens, which has `lab/tool:1`, and what stands before it."""
    registry = Registry(directory)
    made = TokenFront(registry, key, certificate)
    server = TestServer(made.application())
    registry.start()
    try:
        registry.push("lab/tool", "1", images.busybox())
        registry.stop()
        await server.start_server()
        config = registry.directory / "config.yml"
        token = {"realm": str(server.make_url("/token")), "service": "lab", "issuer": "lab"}
        auth = {"auth": {"token": {**token, "rootcertbundle": str(certificate)}}}
        config.write_text(json.dumps(yaml.safe_load(config.read_text()) | auth))
        registry.start()
        yield f"{server.host}:{server.port}", made
    finally:
        await server.close()
        registry.stop()
