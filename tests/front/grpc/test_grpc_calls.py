"""Calls to an open door: who may make them, deadlines, cancellation, errors, health and reflection."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
import structlog
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from doubles.grpc_door import AUTHORITY, Door, open_door
from wavelet.client import AsyncClient, WaveletRpcError
from wavelet.errors import UpstreamUnreachable
from wavelet.front.grpc.calls import ADMIN
from wavelet.requests.progress import Pending
from wavelet.requests.request import Options, Request
from wavelet.resolve.events import BytesDone, Event, LogLine, PackagesDone, PhaseBegan
from wavelet.v1 import cache_pb2, conda_pb2, containers_pb2, daemon_pb2, images_pb2
from wavelet.v1 import containers_pb2 as pb

IMAGE = "quay.io/team/tool:1"
LIMIT = 10.0


async def test_the_caller_is_told_who_it_is_seen_as(door: Door) -> None:
    async with AsyncClient(door.user) as client, AsyncClient(door.admin) as admin:
        seen, by_admin = await client.status(), await admin.status()
    assert (seen.caller, seen.admin, by_admin.caller, by_admin.admin) == (os.geteuid(), False, os.geteuid(), True)


def test_all_methods_for_administration_exist() -> None:
    services = [
        s
        for p in (cache_pb2, conda_pb2, containers_pb2, daemon_pb2, images_pb2)
        for s in p.DESCRIPTOR.services_by_name.values()
    ]
    assert {f"{service.name}/{method.name}" for service in services for method in service.methods} >= ADMIN


async def test_administration_is_refused_at_the_other_socket(door: Door) -> None:
    async with AsyncClient(door.user) as client, AsyncClient(door.admin) as admin:
        with pytest.raises(WaveletRpcError, match=r"DaemonService/Reload is for .*admin\.sock") as refused:
            await client.reload()
        assert refused.value.code is grpc.StatusCode.PERMISSION_DENIED
        with pytest.raises(WaveletRpcError, match="CacheService/List is for administration"):
            async for _ in client.cache_list():
                pass
        assert list((await admin.reload()).changed) == ["upstream.tag_ttl"]


async def test_an_ordinary_users_daemon_serves_nobody_else(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("root is served by every daemon")
    async with open_door(tmp_path, daemon_uid=4242) as door, AsyncClient(door.user) as client:
        assert (await client.resolve(container_image=IMAGE)).token
        assert door.requests.identities[0].uid == 4242


async def test_a_request_is_answered_with_its_name(door: Door) -> None:
    async with AsyncClient(door.user) as client:
        answer = await client.resolve(container_image=IMAGE)
        by_name = await client.resolve(name="quay.io/team/tool:1")
        again = await client.resolve(name=answer.target_image.removeprefix(f"{AUTHORITY}/"))
        shown = await client.describe(answer.token)
    assert answer.target_image == f"{AUTHORITY}/wt/{answer.token}/team/tool:1"
    assert answer.state == pb.CONTAINER_STATE_READY
    assert by_name.target_image == f"{AUTHORITY}/quay.io/team/tool:1"
    assert again.token == answer.token
    assert (shown.request.container_image, list(shown.request.platforms)) == (IMAGE, ["linux/amd64"])
    assert shown.principal == f"uid:{os.geteuid()}"


async def test_a_defect_is_answered_with_an_id_and_no_traceback(door: Door) -> None:
    async def fail(_: Any) -> None:
        raise RuntimeError("secret inside")

    door.requests.on_submit = fail
    with structlog.testing.capture_logs() as logged:
        async with AsyncClient(door.user) as client:
            with pytest.raises(WaveletRpcError, match=r"error id [0-9a-f]{12}$") as raised:
                await client.resolve(container_image=IMAGE)
    assert raised.value.code is grpc.StatusCode.INTERNAL
    assert "secret inside" not in raised.value.message
    entry = next(entry for entry in logged if entry["event"] == "defect")
    assert raised.value.message.endswith(entry["id"])
    assert "secret inside" in entry["traceback"]


async def test_the_wait_is_bounded_by_the_deadline(door: Door) -> None:
    asked: list[Options] = []

    async def note(request: Request) -> None:
        asked.append(request.options)

    door.requests.on_submit, door.requests.state = note, Pending()
    async with AsyncClient(door.user, timeout=5.0) as client:
        await client.resolve(container_image=IMAGE, wait=600)
        await client.resolve(container_image=IMAGE, wait=0.25)
        await client.resolve(container_image=IMAGE)
    assert [each.wait for each in asked] == [pytest.approx(4.9, abs=0.3), 0.25, 2.0]
    assert not any(each.keep for each in asked)


async def test_an_answer_that_comes_too_late_is_one_that_says_so(door: Door) -> None:
    async def hang(_: Any) -> None:
        await asyncio.Event().wait()

    door.requests.on_submit = hang
    async with grpc.aio.insecure_channel(door.user) as channel:
        with pytest.raises(grpc.aio.AioRpcError, match="deadline came before its answer") as raised:
            await _resolve(channel)(pb.ResolveRequest(container_image=IMAGE), timeout=0.5)
    assert raised.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_events_become_messages_and_the_last_one_is_ready(door: Door) -> None:
    async def events() -> AsyncGenerator[Event, None]:
        for event in (PhaseBegan("pinning"), PackagesDone(1, 2), BytesDone(3, 4), LogLine("so far")):
            yield event

    door.requests.on_watch = events
    async with AsyncClient(door.user) as client:
        token = (await client.resolve(container_image=IMAGE)).token
        seen = [event async for event in client.watch(token)]
    assert [event.WhichOneof("event") for event in seen] == ["phase", "packages", "bytes", "log_line", "ready"]
    assert seen[-1].ready.token == token


async def test_a_watcher_that_goes_away_is_noticed(door: Door) -> None:
    ended = asyncio.Event()

    async def events() -> AsyncGenerator[Event, None]:
        try:
            yield PhaseBegan("pinning")
            await asyncio.Event().wait()
        finally:
            ended.set()

    door.requests.on_watch = events
    async with grpc.aio.insecure_channel(door.user) as channel:
        call = await _watch(channel)
        await call.read()
        call.cancel()
        async with asyncio.timeout(LIMIT):
            await ended.wait()


async def test_a_failure_of_the_work_is_the_streams_end(door: Door) -> None:
    async def events() -> AsyncGenerator[Event, None]:
        yield PhaseBegan("pinning")
        raise UpstreamUnreachable("quay.io does not answer")

    door.requests.on_watch = events
    async with grpc.aio.insecure_channel(door.user) as channel:
        call = await _watch(channel)
        with pytest.raises(grpc.aio.AioRpcError, match="quay\\.io does not answer") as raised:
            async for _ in call:
                pass
    metadata = dict(raised.value.trailing_metadata() or ())
    status = status_pb2.Status.FromString(metadata["grpc-status-details-bin"])
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert info.reason == "UPSTREAM_UNREACHABLE"


async def test_a_request_may_have_as_many_bytes_as_on_the_other_door(door: Door) -> None:
    async with grpc.aio.insecure_channel(door.user) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await _resolve(channel)(pb.ResolveRequest(container_image=IMAGE, fingerprint="x" * (33 << 20)))
        assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert (await _resolve(channel)(pb.ResolveRequest(container_image=IMAGE, fingerprint="x" * (8 << 20)))).token


async def test_health_and_reflection(tmp_path: Path) -> None:
    async with open_door(tmp_path, grace=0.5) as door, grpc.aio.insecure_channel(door.user) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        for service in ("", "wavelet.v1.ContainerService"):
            answer = await health.Check(health_pb2.HealthCheckRequest(service=service))
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        asked = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(
            iter([reflection_pb2.ServerReflectionRequest(list_services="")])
        )
        listed = [service.name async for answer in asked for service in answer.list_services_response.service]
        assert {"wavelet.v1.ImageService", "grpc.health.v1.Health"} <= set(listed)
        watching = health.Watch(health_pb2.HealthCheckRequest(service=""))
        assert (await watching.read()).status == health_pb2.HealthCheckResponse.SERVING
        await door.serving._health.enter_graceful_shutdown()
        assert (await watching.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        watching.cancel()


async def test_a_stop_waits_for_running_calls_and_removes_the_sockets(tmp_path: Path) -> None:
    begun, release = asyncio.Event(), asyncio.Event()

    async def hold(_: Any) -> None:
        begun.set()
        await release.wait()

    async with open_door(tmp_path, grace=LIMIT) as door:
        door.requests.on_submit = hold
        channel = grpc.aio.insecure_channel(door.user)
        call = asyncio.ensure_future(_resolve(channel)(pb.ResolveRequest(container_image=IMAGE)))
        await begun.wait()
        asyncio.get_running_loop().call_later(0.2, release.set)
    assert (await call).token
    await channel.close()
    assert not list(tmp_path.glob("*.sock"))


def _resolve(channel: grpc.aio.Channel) -> Any:
    return channel.unary_unary(
        "/wavelet.v1.ContainerService/Resolve",
        request_serializer=pb.ResolveRequest.SerializeToString,
        response_deserializer=pb.ResolveResponse.FromString,
    )


async def _watch(channel: grpc.aio.Channel) -> Any:
    token = (await _resolve(channel)(pb.ResolveRequest(container_image=IMAGE))).token
    return channel.unary_stream(
        "/wavelet.v1.ContainerService/Watch",
        request_serializer=pb.WatchRequest.SerializeToString,
        response_deserializer=pb.WatchResponse.FromString,
    )(pb.WatchRequest(token=token))
