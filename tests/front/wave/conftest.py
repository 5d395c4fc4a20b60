"""A Wave door on a loopback port with a double of the resolver's side, and the recorded requests."""

from __future__ import annotations

import contextlib
import io
import json
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from doubles.requests import in_place_of_all
from lab.recordings import recorded
from wavelet.errors import AccessRefused, NotFound, TokenNotFound, WaveletError
from wavelet.front.keys import IDENTITY
from wavelet.front.listener import BODY_LIMIT
from wavelet.front.wave.endpoint import Endpoint
from wavelet.front.wave.routes import add_routes
from wavelet.image.reference import Digest, Platform, Reference
from wavelet.kinds.conda.locks.write import LockForm
from wavelet.kinds.conda.model.package_request import CondaDefaults
from wavelet.plan.canonical import Pin
from wavelet.plan.node import Node
from wavelet.plan.tokens import ANONYMOUS, Identity, Login, asked_token
from wavelet.requests.audit import Audit
from wavelet.requests.documents import Documents
from wavelet.requests.progress import Ready, State
from wavelet.requests.request import About, ContainerRequest, Request
from wavelet.requests.request_cache import Status

AUTHORITY = "127.0.0.1:9090"
CREATED = 1_767_323_045.25
SITE = CondaDefaults.of("ubuntu:24.04", (), ("conda-forge",), platform=Platform("linux", "amd64"))
BODIES = Path(__file__).parent / "bodies"


@dataclass
class DoubleRequests:
    """What the door calls: it keeps requests in memory, and answers what the test has set."""

    state: State = field(default_factory=Ready)
    error: Exception | None = None
    seconds: float = 3.0
    documents_found: Documents | None = None
    login_right: bool = True
    records: dict[str, ContainerRequest] = field(default_factory=dict)
    inline: Mapping[Digest, bytes] = field(default_factory=dict)
    dry_run: bool = False
    refresh: bool = False
    log_text: str = ""
    lock_text: str | None = None
    asked: list[Any] = field(default_factory=list)
    refusals: list[tuple[WaveletError, About]] = field(default_factory=list)
    pin: Callable[[Node], Pin] | None = None
    is_pinned: bool = True
    becomes: State = field(default_factory=Ready)
    waits: int = 0

    async def submit(self, request: Request) -> Status:
        self._fail()
        self.inline, self.dry_run, self.refresh = request.inline, request.options.dry_run, request.options.refresh
        plan, principal = request.asked, request.identity.principal
        token = asked_token(b"k" * 32, plan, principal)
        self.records[token] = ContainerRequest(token, plan, principal, CREATED, CREATED + 86400, request.about)
        if self.pin is not None and self.is_pinned:
            self.know(token, pin=self.pin(plan), principal=ANONYMOUS)
        return Status(self.records[token], self.state, self.seconds)

    async def settled(
        self, token: str, identity: Identity, wait: float, enough: Callable[[Status], bool] = lambda _: False
    ) -> Status:
        """Become what the test says, pinned where that is not a failure."""
        self.waits += 1
        if self.pin is not None and isinstance(self.becomes, Ready):
            self.know(token, pin=self.pin(self.records[token].plan), principal=ANONYMOUS)
        bound = Status(self.records[token], self.state, self.seconds)
        return bound if enough(bound) else replace(bound, state=self.becomes)

    def refused(self, error: WaveletError, about: About, identity: Identity) -> None:
        self.refusals.append((error, about))

    async def find(self, token: str, identity: Identity) -> ContainerRequest:
        self._fail()
        if token not in self.records:
            raise TokenNotFound(f"no container request is known as {token}")
        return self.records[token]

    async def status(self, token: str, identity: Identity) -> Status:
        return Status(await self.find(token, identity), self.state, self.seconds)

    async def log(self, token: str, identity: Identity) -> str:
        await self.find(token, identity)
        return self.log_text

    async def lock(self, token: str, identity: Identity, form: LockForm, platform: Platform | None) -> str:
        await self.find(token, identity)
        self.asked.append((form, platform))
        if self.lock_text is None:
            raise NotFound("there is no lock")
        return self.lock_text

    async def evict(self, token: str, identity: Identity, *, door: str) -> None:
        if (await self.find(token, identity)).principal != identity.principal:
            raise AccessRefused("this container request belongs to somebody else")
        del self.records[token]

    async def documents(self, reference: Reference, platform: Platform | None, identity: Identity) -> Documents:
        self._fail()
        self.asked.append((reference, platform, identity))
        assert self.documents_found is not None
        return self.documents_found

    async def check_login(self, host: str, login: Login) -> bool:
        self._fail()
        self.asked.append((host, login))
        return self.login_right

    def know(self, token: str, **members: Any) -> None:
        self.records[token] = replace(self.records[token], **members)

    def _fail(self) -> None:
        if self.error is not None:
            raise self.error


@dataclass
class Door:
    """A running door."""

    client: TestClient[web.Request, web.Application]
    requests: DoubleRequests
    identity: Identity

    async def post(self, body: object, path: str = "/v1alpha2/container", status: int = 200) -> Any:
        data = io.BytesIO(body if isinstance(body, bytes) else json.dumps(body).encode())
        async with self.client.post(path, data=data) as response:
            assert response.status == status, await response.text()
            return await response.json()

    async def get(self, path: str, status: int = 200, **headers: str) -> Any:
        async with self.client.get(path, headers=headers, allow_redirects=False) as response:
            assert response.status == status, await response.text()
            return await response.json()


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    """Return a door on a loopback port, with the double behind it."""
    async with opened(Endpoint(AUTHORITY)) as found:
        yield found


@pytest.fixture
def open_door() -> Callable[[Endpoint], AbstractAsyncContextManager[Door]]:
    """Return what opens a door of another endpoint."""
    return opened


@contextlib.asynccontextmanager
async def opened(endpoint: Endpoint) -> AsyncIterator[Door]:
    """Open a door of an endpoint on a loopback port, with the double behind it."""
    requests, identity = DoubleRequests(), Identity(uid=1000)

    @web.middleware
    async def as_user(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", web.NotAppKeyWarning)
            request[IDENTITY] = identity
        return await handler(request)

    app = web.Application(middlewares=[as_user], client_max_size=BODY_LIMIT)
    add_routes(app, in_place_of_all(requests), requests, endpoint, lambda: SITE, Audit(None))
    async with TestClient(TestServer(app)) as client:
        yield Door(client, requests, identity)


def bodies() -> list[Any]:
    """Return the requests kept beside the tests: of each Nextflow version, recorded or made by its field list."""
    return [pytest.param(json.loads(path.read_text()), id=path.stem) for path in sorted(BODIES.glob("*-post.json"))]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give each test that takes `version` or `recording` all of them."""
    for name, values in (("version", bodies), ("recording", recorded)):
        if name in metafunc.fixturenames:
            metafunc.parametrize(name, values())
