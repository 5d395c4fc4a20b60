"""Tokens are for a repository and the actions that a request needs: pulling today, pushing where that is asked for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from doubles.registry import Registry
from lab import images
from lab import registry as lab_registry
from lab.token_front import TokenFront
from wavelet.config import Settings
from wavelet.errors import UpstreamBroken
from wavelet.plan.tokens import Login
from wavelet.upstream.addresses import FOR_REGISTRIES
from wavelet.upstream.retry import ATTEMPTS, HostLimiter
from wavelet.upstream.session import Call, RegistrySession
from wavelet.upstream.streams import Answer
from wavelet.upstream.token_scope import PULL, PUSH
from wavelet.upstream.transport import Transport

ALICE = Login("alice", "wonder")
PULL_TAG = Call("manifest", "GET", "manifests/1", headers={"Accept": ", ".join(images.MANIFEST_TYPES)})
BEGIN_UPLOAD = Call("upload", "POST", "blobs/uploads/", actions=PUSH)


@pytest.fixture
async def session() -> AsyncIterator[RegistrySession]:
    settings = msgspec.convert({}, Settings)
    transport = Transport()
    yield RegistrySession(settings, transport, HostLimiter(settings), FOR_REGISTRIES)
    await transport.close()


@pytest.fixture
def bearer(registry: Registry) -> Registry:
    """The double with two images, which asks for tokens."""
    for repository in ("lab/tool", "lab/other"):
        registry.add_image(repository, "1")
    registry.require_login("bearer", {"alice": ("wonder", ["lab/*"])})
    return registry


async def status(
    session: RegistrySession, host: str, call: Call, login: Login | None, repository: str = "lab/tool"
) -> int:
    answer: Answer = await session.send(await session.endpoint(host), repository, call, login, attempts=ATTEMPTS)
    answer.close()
    return answer.status


def scopes(registry: Registry) -> list[str]:
    return [seen.query["scope"] for seen in registry.seen("GET", "/token")]


def shown(registry: Registry, part: str) -> set[str]:
    """Return what was shown with requests for paths with `part`."""
    return {seen.headers["Authorization"] for seen in registry.seen(None, part) if "Authorization" in seen.headers}


async def test_a_push_asks_for_both_actions_and_a_pull_for_one(session: RegistrySession, bearer: Registry) -> None:
    assert await status(session, bearer.host, PULL_TAG, ALICE) == 200
    assert await status(session, bearer.host, BEGIN_UPLOAD, ALICE) == 202
    assert scopes(bearer) == ["repository:lab/tool:pull", "repository:lab/tool:pull,push"]


async def test_each_set_of_actions_and_each_repository_has_a_token_of_its_own(
    session: RegistrySession, bearer: Registry
) -> None:
    for _ in range(2):
        for repository in ("lab/tool", "lab/other"):
            assert await status(session, bearer.host, PULL_TAG, ALICE, repository) == 200
            assert await status(session, bearer.host, BEGIN_UPLOAD, ALICE, repository) == 202
    assert len(scopes(bearer)) == 4
    pulls, pushes = (shown(bearer, part) for part in ("/manifests/", "/uploads/"))
    assert (len(pulls), len(pushes), pulls & pushes) == (2, 2, set())


async def test_logins_have_tokens_of_their_own(session: RegistrySession, bearer: Registry) -> None:
    assert await status(session, bearer.host, PULL_TAG, ALICE) == 200
    assert await status(session, bearer.host, PULL_TAG, None) == 401
    assert len(scopes(bearer)) == 2


async def test_many_at_once_ask_for_one_token(session: RegistrySession, bearer: Registry) -> None:
    asked = [status(session, bearer.host, PULL_TAG, ALICE) for _ in range(5)]
    assert set(await asyncio.gather(*asked)) == {200}
    assert scopes(bearer) == ["repository:lab/tool:pull"]


async def test_what_a_token_service_says_of_another_server_is_not_shown_there(
    session: RegistrySession, bearer: Registry, second: Registry
) -> None:
    """One that names the same realm and service would get the token that another server's user has."""
    assert await status(session, bearer.host, PULL_TAG, ALICE) == 200
    second.add_image("lab/tool", "1")
    second.require_login("bearer", realm=f"{bearer.url}/token")
    with pytest.raises(UpstreamBroken, match="sends for tokens"):
        await status(session, second.host, PULL_TAG, ALICE)
    assert all("Authorization" not in seen.headers for seen in second.requests)


@pytest.fixture
def real(tmp_path: Path) -> Iterator[lab_registry.Registry]:
    running = lab_registry.Registry(tmp_path / "registry", accounts=("ann",))
    running.start()
    try:
        running.push("lab/tool", "1", images.busybox())
        yield running
    finally:
        running.stop()


@pytest.mark.registry
async def test_a_real_registry_begins_an_upload_with_a_login_only(
    session: RegistrySession, real: lab_registry.Registry
) -> None:
    ann = Login("ann", lab_registry.PASSWORDS["ann"])
    assert await status(session, real.host, BEGIN_UPLOAD, None) == 401
    assert await status(session, real.host, BEGIN_UPLOAD, ann) == 202
    assert await status(session, real.host, PULL_TAG, ann) == 200


@pytest.mark.registry
async def test_a_real_registry_takes_a_token_for_what_it_was_asked_for(
    session: RegistrySession, front: tuple[str, TokenFront]
) -> None:
    host, made = front
    assert await status(session, host, PULL_TAG, ALICE) == 200
    assert await status(session, host, BEGIN_UPLOAD, ALICE) == 202
    assert made.scopes == ["repository:lab/tool:pull", "repository:lab/tool:pull,push"]
    # What only pulls may not push, whatever the registry says that it would take.
    assert await status(session, host, replace(BEGIN_UPLOAD, actions=PULL), ALICE) == 401
    assert made.scopes[2:] == ["repository:lab/tool:pull"]
