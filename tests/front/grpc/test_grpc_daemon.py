"""A daemon's sockets as other users of the machine find them."""

from __future__ import annotations

import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from lab.daemon import Daemon
from lab.processes import run
from lab.users import User, passable_directory
from wavelet.client import Client, WaveletRpcError
from wavelet.paths import ADMIN_SOCKET, USER_SOCKET
from wavelet.v1.daemon_pb2 import StatusRequest
from wavelet.v1.daemon_pb2_grpc import DaemonServiceStub

pytestmark = pytest.mark.process

_ASK = """
import sys
from wavelet.client import Client, WaveletRpcError
with Client("unix:" + sys.argv[1]) as client:
    try:
        print(client.status().caller, client.status().admin)
        print(client.resolve(container_image="127.0.0.1:1/team/tool:1", dry_run=True).token)
        client.reload()
    except WaveletRpcError as error:
        print(error.code.name, error.message)
"""


@pytest.fixture
def sockets() -> Iterator[tuple[Daemon, Path]]:
    """Return a daemon, and the directory of its sockets, which everyone may pass."""
    with passable_directory() as directory:
        settings = {"grpc": {"socket": str(directory / USER_SOCKET)}}
        daemon = Daemon(directory / "state", settings=settings)
        daemon.start()
        yield daemon, directory
        daemon.stop()


@pytest.mark.users
def test_users_are_told_apart_and_administration_is_roots(sockets: tuple[Daemon, Path]) -> None:
    daemon, directory = sockets
    modes = [stat.S_IMODE((directory / name).stat().st_mode) for name in (USER_SOCKET, ADMIN_SOCKET)]
    assert modes == [0o666, 0o660]
    assert stat.S_IMODE((daemon.state / "grpc").stat().st_mode) == 0o700
    user = User.create("g")
    try:
        said = run([*user.prefix(), sys.executable, "-c", _ASK, directory / USER_SOCKET]).stdout.splitlines()
        assert said[0] == f"{user.uid} False"
        assert said[2].startswith("PERMISSION_DENIED DaemonService/Reload is for administration")
        refused = run([*user.prefix(), sys.executable, "-c", _ASK, directory / ADMIN_SOCKET]).stdout
        assert refused.startswith("UNAVAILABLE")
        assert "may not be used by this user" in refused
    finally:
        user.remove()
    with Client(f"unix:{directory / ADMIN_SOCKET}") as admin:
        seen = admin.status()
        assert (seen.caller, seen.admin, seen.pid) == (0, True, daemon.pid)
        assert list(admin.reload().changed) == []
    assert daemon.stop() == 0
    assert not list(directory.glob("*.sock"))


def test_long_metadata_is_taken(sockets: tuple[Daemon, Path]) -> None:
    """Fault B8: the limit of headers is the same at both doors."""
    with grpc.insecure_channel(f"unix:{sockets[1] / ADMIN_SOCKET}") as channel:
        stub = DaemonServiceStub(channel)
        for size in (20_000, 60_000):
            assert stub.Status(StatusRequest(), metadata=[("token", "t" * size)], timeout=20).admin


def test_a_second_daemon_leaves_the_first_ones_socket(sockets: tuple[Daemon, Path], tmp_path: Path) -> None:
    daemon, directory = sockets
    settings = {"grpc": {"socket": str(directory / USER_SOCKET)}}
    second = Daemon(tmp_path / "second", settings=settings)
    with pytest.raises(AssertionError):
        second.start()
    second.stop()
    assert f"in use by a running wavelet (process {daemon.pid})" in second.log()
    with Client(f"unix:{directory / USER_SOCKET}") as client:
        assert client.status().pid == daemon.pid


def test_a_state_directory_with_a_long_path_leaves_gRPC_out(tmp_path: Path) -> None:
    state = tmp_path / ("x" * 100) / "state"
    daemon = Daemon(state)
    state.parent.mkdir()
    daemon.start()
    try:
        assert "no gRPC over unix sockets" in daemon.log()
        assert daemon.get("/readyz").status == 200
    finally:
        assert daemon.stop() == 0


def test_a_daemon_without_gRPC_has_no_sockets(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path / "state", WAVELET_GRPC_ENABLED="false")
    daemon.start()
    try:
        with Client(f"unix:{tmp_path / 'state' / USER_SOCKET}") as client, pytest.raises(WaveletRpcError):
            client.status()
    finally:
        assert daemon.stop() == 0
