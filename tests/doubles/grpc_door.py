"""An open gRPC door with doubles of the rooms behind it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from doubles.requests import in_place_of_all
from lab.packs import NO_RULES
from wavelet.config import Grpc, Settings
from wavelet.errors import TokenNotFound, WaveletError
from wavelet.front.connections import Activity
from wavelet.front.grpc.server import Serving, serve
from wavelet.front.grpc.services import Services
from wavelet.front.registry.sif_plans import SifPlans
from wavelet.image.reference import DEFAULT_PLATFORM, Platform
from wavelet.kinds.conda.model.package_request import CondaDefaults
from wavelet.plan.tokens import Identity, asked_token
from wavelet.requests.access import AccessRules
from wavelet.requests.effective_plan import EffectivePlans
from wavelet.requests.progress import Ready, State
from wavelet.requests.request import About, ContainerRequest, Request
from wavelet.requests.request_cache import Status
from wavelet.requests.site_codec import SiteCodec
from wavelet.resolve.events import Event

AUTHORITY = "127.0.0.1:9090"
CREATED = 1_767_323_045.25
SITE = CondaDefaults.of("ubuntu:24.04", (), ("conda-forge",), platform=Platform("linux", "amd64"))


@dataclass
class DoubleRequests:
    """Keeps requests in memory, and does what the test has set when it is asked for one."""

    state: State = field(default_factory=Ready)
    on_submit: Callable[[Request], Awaitable[None]] | None = None
    on_watch: Callable[[], AsyncGenerator[Event, None]] | None = None
    records: dict[str, ContainerRequest] = field(default_factory=dict)
    identities: list[Identity] = field(default_factory=list)
    refusals: list[tuple[WaveletError, About]] = field(default_factory=list)

    async def submit(self, request: Request) -> Status:
        self.identities.append(request.identity)
        if self.on_submit is not None:
            await self.on_submit(request)
        plan, principal = request.asked, request.identity.principal
        token = asked_token(b"k" * 32, plan, principal)
        self.records[token] = ContainerRequest(token, plan, principal, CREATED, CREATED + 86400, request.about)
        return Status(self.records[token], self.state, 1.0)

    async def find(self, token: str, identity: Identity) -> ContainerRequest:
        if token not in self.records:
            raise TokenNotFound(f"no container request is known as {token}")
        return self.records[token]

    async def status(self, token: str, identity: Identity) -> Status:
        return Status(await self.find(token, identity), self.state, 1.0)

    async def running(self, token: str, identity: Identity) -> None:
        return None

    async def ask_again(self, token: str, identity: Identity) -> Status:
        return await self.status(token, identity)

    def refused(self, error: WaveletError, about: About, identity: Identity) -> None:
        self.refusals.append((error, about))

    async def watch(self, token: str, identity: Identity) -> AsyncGenerator[Event, None]:
        await self.find(token, identity)
        assert self.on_watch is not None
        async with contextlib.aclosing(self.on_watch()) as events:
            async for event in events:
                yield event


@dataclass
class Door:
    """An open door."""

    settings: Settings
    serving: Serving
    requests: DoubleRequests
    rooms: Any

    @property
    def user(self) -> str:
        """The target of the socket for users."""
        return f"unix:{self.settings.grpc.socket}"

    @property
    def admin(self) -> str:
        """The target of the socket for administration."""
        return f"unix:{Path(self.settings.grpc.socket).with_name('admin.sock')}"


@contextlib.asynccontextmanager
async def open_door(
    directory: Path, *, daemon_uid: int | None = None, grace: float = 0.0, **more: Any
) -> AsyncIterator[Door]:
    """Open a door in `directory`, with the further settings of section `grpc`."""
    state = directory / "state"
    state.mkdir(exist_ok=True)
    grpc = Grpc(socket=str(directory / "wavelet.sock"), **more)
    settings = Settings(state=str(state), grpc=grpc)
    requests = DoubleRequests()
    rooms = SimpleNamespace(
        reloads=SimpleNamespace(settings=settings, file="", reload=_reload), cache=SimpleNamespace()
    )
    rules = AccessRules(os.geteuid() if daemon_uid is None else daemon_uid)
    services: Any = Services(
        in_place_of_all(requests),
        SimpleNamespace(),
        SimpleNamespace(),
        SimpleNamespace(),
        rooms.cache,
        SimpleNamespace(),
        SimpleNamespace(),
        SimpleNamespace(),
        rules,
        Activity(lambda: False),
        lambda: SITE,
        NO_RULES,
        EffectivePlans(NO_RULES),
        SifPlans(SiteCodec(settings), DEFAULT_PLATFORM),
        _state,
        rooms.reloads,
        SimpleNamespace(note=lambda *_, **__: None),
        SimpleNamespace(),
    )
    serving = await serve(settings, services, {})
    assert serving is not None
    try:
        yield Door(settings, serving, requests, rooms)
    finally:
        await serving.close(grace)


DECIDED = {
    "rules": {"count": 2, "directory": "/rules", "problems": ["10.yaml: is not YAML"], "closed": False},
    "packs": {"count": 1, "problems": ["packs/a/pack.yaml: is not there"]},
}


async def _reload() -> list[str]:
    return ["upstream.tag_ttl"]


def _state() -> dict[str, Any]:
    shown = {"version": "1", "pid": 7, "uid": 0, "started": CREATED, "address": AUTHORITY, "authority": AUTHORITY}
    return shown | {"state": "/state", "records": "", "jobs": 2, "store": {"size": 0, "limit": 0}} | DECIDED
