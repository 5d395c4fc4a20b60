"""A daemon to be called over gRPC, and the Python client's two kinds as one function each."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from lab import images
from lab.conda_channel import ChannelServer
from lab.daemon import Daemon
from lab.registry import Registry
from wavelet.client import AsyncClient, Client

Do = Callable[[Any], Any]
Run = Callable[..., Any]


def blocking(do: Do, target: str | None = None, **settings: Any) -> Any:
    """Make one call; a stream's answers come as a list."""
    with Client(target, **settings) as client:
        answer = do(client)
        return list(answer) if hasattr(answer, "send") else answer


def awaiting(do: Do, target: str | None = None, **settings: Any) -> Any:
    """Make one call in an event loop; a stream's answers come as a list."""

    async def run() -> Any:
        async with AsyncClient(target, **settings) as client:
            answer = do(client)
            return await answer if isinstance(answer, Awaitable) else [event async for event in answer]

    return asyncio.run(run())


@dataclass
class Site:
    """A daemon and what it can be asked for."""

    node: Daemon
    registry: Registry
    private: Registry
    channel: ChannelServer
    busybox: images.Image

    @property
    def user(self) -> str:
        """Its socket for everybody, as a target."""
        return f"unix:{self.node.state}/wavelet.sock"

    @property
    def admin(self) -> str:
        """Its socket for administrators."""
        return f"unix:{self.node.state}/admin.sock"

    @property
    def image(self) -> str:
        """The reference of a public image."""
        return f"{self.registry.host}/lab/busybox:1"
