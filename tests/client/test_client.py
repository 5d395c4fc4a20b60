"""The Python client of both kinds against a server that answers what a test tells it to."""

from __future__ import annotations

import asyncio
import itertools
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from doubles.grpc_daemon import GrpcDaemon, refusal
from lab.grpc_site import Do, Run
from lab.users import passable_directory
from wavelet.client import AsyncClient, Client, NoDaemon, WaveletRpcError
from wavelet.client.method import Many, One
from wavelet.client.methods import Methods
from wavelet.v1 import cache_pb2, conda_pb2, containers_pb2, daemon_pb2, images_pb2, packs_pb2, rules_pb2
from wavelet.v1.containers_pb2 import Packages, ResolveRequest, ResolveResponse, WatchResponse
from wavelet.v1.daemon_pb2 import StatusResponse

PROTOS = (cache_pb2, conda_pb2, containers_pb2, daemon_pb2, images_pb2, packs_pb2, rules_pb2)
TOKEN = "0" * 32


@pytest.fixture
def server(tmp_path: Path) -> Iterator[GrpcDaemon]:
    with GrpcDaemon(tmp_path) as running:
        yield running


def status(client: Any) -> Any:
    return client.status()


def watch(client: Any) -> Any:
    return client.watch(TOKEN)


def busy(retry_after: float) -> Any:
    return refusal(
        grpc.StatusCode.UNAVAILABLE, "not now", reason="UPSTREAM_BUSY", fault="upstream", retry_after=retry_after
    )


def test_every_call_of_the_protos_is_a_method() -> None:
    declared = {
        f"/{service.full_name}/{method.name}": method
        for proto in PROTOS
        for service in proto.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    }
    made = {method.path: method for method in vars(Methods).values() if isinstance(method, One | Many)}
    assert made.keys() == declared.keys()
    for path, method in made.items():
        assert method._answer.DESCRIPTOR is declared[path].output_type
        assert method.__doc__


def test_an_error_says_all_that_the_status_says(server: GrpcDaemon, run: Run) -> None:
    said = "busybox:2 is not there"
    refused = refusal(
        grpc.StatusCode.NOT_FOUND, said, reason="IMAGE_NOT_FOUND", fault="caller", field="containerImage", retry_after=5
    )
    server.answers["Resolve"] = [[refused]]
    with pytest.raises(WaveletRpcError, match=said) as caught:
        run(lambda client: client.resolve(container_image="busybox:2"), server.target)
    error = caught.value
    assert (error.code, error.message, error.fault) == (grpc.StatusCode.NOT_FOUND, said, "caller")
    assert (error.reason, error.field, error.retry_after) == ("IMAGE_NOT_FOUND", "containerImage", 5.0)


def test_a_status_without_details_is_an_error_too(server: GrpcDaemon, run: Run) -> None:
    server.answers["Status"] = [[lambda context: context.abort(grpc.StatusCode.UNIMPLEMENTED, "no such call")]]
    with pytest.raises(WaveletRpcError, match="no such call") as caught:
        run(status, server.target)
    assert (caught.value.fault, caught.value.reason, caught.value.retry_after) == ("caller", "", None)


def test_what_is_busy_is_asked_again_within_the_time_given(server: GrpcDaemon, run: Run) -> None:
    server.answers["Status"] = [[busy(0.0)], [StatusResponse(pid=7)]]
    assert run(status, server.target, timeout=10).pid == 7
    assert server.calls["Status"] == 2


@pytest.mark.parametrize(
    ("refused", "timeout"),
    [
        pytest.param(busy(0.0), None, id="nobody-said-how-long"),
        pytest.param(busy(60.0), 10, id="too-late"),
        pytest.param(refusal(grpc.StatusCode.UNAVAILABLE, "not now"), 10, id="nobody-said-when"),
        pytest.param(refusal(grpc.StatusCode.INTERNAL, "broken", retry_after=0), 10, id="not-a-matter-of-time"),
    ],
)
def test_what_is_not_asked_again(server: GrpcDaemon, run: Run, refused: Any, timeout: float | None) -> None:
    server.answers["Status"] = [[refused], [StatusResponse()]]
    started = time.monotonic()
    with pytest.raises(WaveletRpcError):
        run(status, server.target, timeout=timeout)
    assert server.calls["Status"] == 1
    assert time.monotonic() - started < 5


def test_a_stream_is_asked_for_again_until_it_has_begun(server: GrpcDaemon, run: Run) -> None:
    line, ready = WatchResponse(log_line="one"), WatchResponse(ready=ResolveResponse(token=TOKEN))
    server.answers["Watch"] = [[busy(0.0)], [line, ready]]
    assert run(watch, server.target, timeout=10) == [line, ready]
    server.calls.clear()
    server.answers["Watch"] = [[line, busy(0.0)], [line, ready]]
    with pytest.raises(WaveletRpcError, match="not now"):
        run(watch, server.target, timeout=10)
    assert server.calls["Watch"] == 1


def test_waiting_returns_the_ready_container(server: GrpcDaemon, run: Run) -> None:
    ready = ResolveResponse(token=TOKEN, target_image="127.0.0.1:9090/x")
    server.answers["Watch"] = [[WatchResponse(log_line="one"), WatchResponse(ready=ready)], []]
    assert run(lambda client: client.wait(TOKEN), server.target) == ready
    with pytest.raises(WaveletRpcError, match="ask again"):
        run(lambda client: client.wait(TOKEN), server.target)


@pytest.mark.parametrize("do", [status, watch])
def test_a_deadline_ends_a_call_on_both_sides(server: GrpcDaemon, run: Run, do: Do) -> None:
    server.answers["Status"] = server.answers["Watch"] = [[server.hang]]
    with pytest.raises(WaveletRpcError, match="asking again is right") as caught:
        run(do, server.target, timeout=0.2)
    assert caught.value.code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert server.ended.wait(5)


def test_one_client_can_have_several_deadlines(server: GrpcDaemon) -> None:
    server.answers["Status"] = [[server.hang], [StatusResponse()]]
    with Client(server.target) as client:
        with pytest.raises(WaveletRpcError):
            client.within(0.1).status()
        client.status()


def test_closing_an_iteration_cancels_its_call(server: GrpcDaemon) -> None:
    server.answers["Watch"] = [[WatchResponse(log_line="one"), server.hang]]
    with Client(server.target) as client:
        events = client.watch(TOKEN)
        assert next(events).log_line == "one"
        events.close()
        assert server.ended.wait(5)


async def test_closing_an_asynchronous_iteration_cancels_its_call(server: GrpcDaemon) -> None:
    server.answers["Watch"] = [[WatchResponse(log_line="one"), server.hang]]
    async with AsyncClient(server.target) as client:
        async with aclosing(client.watch(TOKEN)) as events:
            assert (await anext(events)).log_line == "one"
        assert await asyncio.to_thread(server.ended.wait, 5)


@pytest.mark.parametrize("name", ["status", "watch"])
async def test_cancelling_a_task_cancels_its_call(server: GrpcDaemon, name: str) -> None:
    asked = asyncio.Event()
    loop = asyncio.get_running_loop()

    def note(_context: object) -> None:
        loop.call_soon_threadsafe(asked.set)

    server.answers["Status"] = server.answers["Watch"] = [[note, server.hang]]
    async with AsyncClient(server.target) as client:
        call = client.status() if name == "status" else client.wait(TOKEN)
        task = asyncio.create_task(call)  # type: ignore[arg-type, var-annotated]
        await asyncio.wait_for(asked.wait(), 5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.to_thread(server.ended.wait, 5)


@pytest.mark.parametrize("is_stale", [False, True])
def test_no_daemon_is_said_as_such(tmp_path: Path, run: Run, is_stale: bool) -> None:
    path = tmp_path / "wavelet.sock"
    if is_stale:
        with socket.socket(socket.AF_UNIX) as left_behind:
            left_behind.bind(str(path))
    with pytest.raises(NoDaemon) as caught:
        run(status, f"unix:{path}")
    for part in (str(path), "`wavelet serve`", "`wavelet ensure`", "WAVELET_SOCKET"):
        assert part in caught.value.message


def test_the_default_target_is_where_daemons_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAVELET_SOCKET", str(tmp_path / "wavelet.sock"))
    with Client() as user, Client(admin=True) as admin:
        with pytest.raises(NoDaemon, match=str(tmp_path / "wavelet.sock")):
            user.status()
        with pytest.raises(NoDaemon, match=str(tmp_path / "admin.sock")):
            admin.status()


@pytest.mark.users
def test_a_socket_of_others_is_said_as_such(run: Run) -> None:
    with passable_directory() as directory, GrpcDaemon(directory) as server:
        Path(server.target.removeprefix("unix:")).chmod(0o600)
        os.seteuid(65534)
        try:
            with pytest.raises(NoDaemon, match="may not be used by this user") as caught:
                run(status, server.target)
        finally:
            os.seteuid(0)
    assert caught.value.fault == "caller"


def test_a_connection_that_breaks_is_not_a_missing_daemon(tmp_path: Path, run: Run) -> None:
    path = tmp_path / "rude.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(8)
        over = threading.Event()

        def hang_up() -> None:
            listener.settimeout(0.05)
            while not over.is_set():
                with suppress(TimeoutError):
                    listener.accept()[0].close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        try:
            with pytest.raises(WaveletRpcError, match="has closed the connection") as caught:
                run(status, f"unix:{path}")
        finally:
            over.set()
            thread.join()
    assert not isinstance(caught.value, NoDaemon)


def test_a_network_address_takes_tls() -> None:
    with pytest.raises(ValueError, match="mutual TLS"):
        Client("node7:9091")


def test_keywords_make_the_request(server: GrpcDaemon) -> None:
    server.answers["Resolve"] = [[ResolveResponse()]]
    with Client(server.target) as client:
        client.resolve(
            ResolveRequest(platforms=["linux/amd64"], fingerprint="f"),
            packages=["samtools=1.17"],
            platforms="linux/arm64",
            packs=["ca", "trace@1.2"],
            labels={"team": "genomics"},
            wait=1.5,
        )
    assert ResolveRequest.FromString(server.requests["Resolve"]) == ResolveRequest(
        packages=Packages(entries=["samtools=1.17"]),
        platforms=["linux/amd64", "linux/arm64"],
        packs=["ca", "trace@1.2"],
        labels={"team": "genomics"},
        fingerprint="f",
        wait=Duration(seconds=1, nanos=500_000_000),
    )


def test_a_request_is_explained_for_its_user_and_door(server: GrpcDaemon) -> None:
    server.answers["ExplainRules"] = [[rules_pb2.ExplainRulesResponse()]]
    asked = ResolveRequest(name="library/busybox:1")
    with Client(server.target) as client:
        client.explain_rules(asked, uid=0, door="sif")
        said = rules_pb2.ExplainRulesRequest.FromString(server.requests["ExplainRules"])
        assert said == rules_pb2.ExplainRulesRequest(request=asked, uid=0, door="sif")
        client.explain_rules(asked)
    assert not rules_pb2.ExplainRulesRequest.FromString(server.requests["ExplainRules"]).HasField("uid")


def test_a_request_has_one_source(server: GrpcDaemon) -> None:
    with Client(server.target) as client:
        sources = {"container_image": "busybox", "container_file": "FROM x", "packages": ["x"], "name": "conda/x"}
        for one, other in itertools.combinations(sources, 2):
            with pytest.raises(ValueError, match="one of"):
                client.resolve(**{one: sources[one], other: sources[other]})  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="one of"):
            client.lock()


_ALONE = """
import sys

OURS = ("wavelet", "wavelet.client", "wavelet.v1", "wavelet.paths")
THEIRS = {"grpc", "google", "typing_extensions"}

class Guard:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top == "wavelet":
            allowed = name == "wavelet" or any(name == room or name.startswith(room + ".") for room in OURS[1:])
        else:
            allowed = top in THEIRS or top in sys.stdlib_module_names
        if not allowed:
            raise ModuleNotFoundError(f"the client imports {name}", name=name)

# What an editable install brings along is not the client's doing.
for name in list(sys.modules):
    if name.partition(".")[0] not in sys.stdlib_module_names:
        del sys.modules[name]
sys.meta_path.insert(0, Guard())
import wavelet.client
wavelet.client.Client("unix:/nonexistent").close()
"""


def test_it_imports_nothing_of_the_daemon() -> None:
    done = subprocess.run([sys.executable, "-c", _ALONE], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
