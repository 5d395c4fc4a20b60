"""Names of what is pushed: they are the caller's own, for it is pushed with the caller's logins."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from doubles.registry import Registry
from lab.node import open_node, registry_plan
from wavelet.image.reference import Repository
from wavelet.kinds.frozen.node import FrozenImage
from wavelet.plan.tokens import ANONYMOUS, Identity, Principal

USER = Identity(uid=1234)
REPOSITORY = Repository("registry.example", "team/frozen")


@pytest.fixture
async def registry() -> AsyncIterator[Registry]:
    async with Registry() as running:
        running.add_image("lab/tool", "1")
        yield running


async def test_they_are_the_callers_own(registry: Registry, tmp_path: Path) -> None:
    image = registry_plan(registry.host, "lab/tool")
    async with open_node(tmp_path / "state") as node:

        async def principal(plan: FrozenImage) -> Principal:
            pinned = await node.resolver.pinned(plan, USER)
            return (await node.naming.record(plan, USER, pinned)).principal

        assert await principal(FrozenImage(image)) == ANONYMOUS
        assert await principal(FrozenImage(image, REPOSITORY)) == USER.principal
        assert await principal(FrozenImage(image, cache=REPOSITORY)) == USER.principal
