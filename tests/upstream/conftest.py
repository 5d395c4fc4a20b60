"""Fixtures: a registry double, and clients with settings of choice."""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from doubles.registry import Registry
from lab.token_front import TokenFront, token_front
from wavelet.config import Settings
from wavelet.image.reference import Reference, Repository
from wavelet.upstream import fallback, retry
from wavelet.upstream.client import Upstream
from wavelet.upstream.credentials import Logins


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """Retry without long waits, with no proxy and no auth files of whoever runs the tests."""
    monkeypatch.setattr(retry, "REQUESTS", replace(retry.REQUESTS, first_delay=0.01))
    monkeypatch.setattr(fallback, "REFUSAL_MEMORY", 0.0)
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setattr("wavelet.upstream.credential_sources.paths_of", lambda uid: [])


@pytest.fixture
async def registry() -> AsyncIterator[Registry]:
    async with Registry() as running:
        yield running


@pytest.fixture
async def second() -> AsyncIterator[Registry]:
    async with Registry(host="127.0.0.2") as running:
        yield running


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for localhost, 127.0.0.1 and reg.example that signs itself: its key, and itself."""
    folder = tmp_path_factory.mktemp("tls")
    key, certificate = folder / "key.pem", folder / "cert.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-keyout", str(key), "-out", str(certificate), "-days", "2", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1,DNS:reg.example"]
    subprocess.run(command, check=True, capture_output=True, timeout=20)
    return key, certificate


@pytest.fixture
def server_tls(certificate: tuple[Path, Path]) -> ssl.SSLContext:
    """What a server on this machine speaks TLS with."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate[1], certificate[0])
    return context


@pytest.fixture
async def secure(server_tls: ssl.SSLContext) -> AsyncIterator[Registry]:
    """A registry that speaks TLS, and has an image `lab/tool:1`."""
    async with Registry(tls=server_tls) as running:
        running.add_image("lab/tool", "1")
        yield running


@pytest.fixture
async def client() -> AsyncIterator[Callable[..., Any]]:
    """Return a function that makes a client; its arguments are settings of `upstream`."""
    async with AsyncExitStack() as stack:

        async def make(listen: str = "127.0.0.1:9090", **upstream: Any) -> Upstream:
            settings = msgspec.convert({"listen": listen, "upstream": upstream}, Settings)
            return await stack.enter_async_context(Upstream(settings, Logins(settings)))

        yield make


@pytest.fixture
async def upstream(client: Callable[..., Any]) -> Upstream:
    made: Upstream = await client()
    return made


@pytest.fixture
async def front(tmp_path: Path, certificate: tuple[Path, Path]) -> AsyncIterator[tuple[str, TokenFront]]:
    """Return the host of a real registry that wants tokens, and what stands before it."""
    async with token_front(tmp_path / "registry", *certificate) as running:
        yield running


@pytest.fixture
def tool(registry: Registry) -> Reference:
    """An image of two layers at the double: `lab/tool:1`."""
    registry.add_image("lab/tool", "1", [b"first" * 1000, b"second" * 50_000])
    return Reference(Repository(registry.host, "lab/tool"), "1")
