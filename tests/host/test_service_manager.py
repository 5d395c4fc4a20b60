"""What systemd and the daemon say to each other, with a manager that speaks the protocols and a daemon that is real."""

from __future__ import annotations

import hashlib
import http.client
import signal
import socket
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from lab import images, nextflow
from lab.http import get
from lab.manager import Manager, managing
from lab.processes import wait_for
from lab.registry import Registry

SECONDS = 10.0

pytestmark = pytest.mark.process


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    with managing(tmp_path) as running:
        yield running


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as opened:
        yield opened


def address_of(opened: socket.socket) -> str:
    host, port = opened.getsockname()[:2]
    return f"{host}:{port}"


def test_a_life(tmp_path: Path, listening: socket.socket) -> None:
    address = address_of(listening)
    settings = tmp_path / "wavelet.yaml"
    settings.write_text("log_level: info\n")
    with managing(tmp_path, abstract=True) as manager:
        manager.start("--config", str(settings), sockets={"http": listening})
        assert manager.wait_for("READY")["STATUS"] == f"serving {address}"
        assert get(f"http://{address}/statusz").json()["authority"] == address

        before, moment = len(manager.heard), time.monotonic()
        manager.signal(signal.SIGHUP)
        begun = int(manager.wait_for("RELOADING", after=before)["MONOTONIC_USEC"]) / 1e6
        assert moment <= begun <= time.monotonic()
        assert manager.wait_for("READY", after=before)["STATUS"] == f"serving {address}"

        settings.write_text("log_level: nonsense\n")
        before = len(manager.heard)
        manager.signal(signal.SIGHUP)
        manager.wait_for("READY", after=before)
        assert get(f"http://{address}/readyz").status == 200

        settings.write_text("log_level: info\n")
        assert manager.stop() == 0
        assert int(manager.wait_for("STOPPING")["EXTEND_TIMEOUT_USEC"]) > 30e6
        assert not manager.told("WATCHDOG")

        # The socket is the manager's: who connects now waits for the next daemon.
        waiting = http.client.HTTPConnection(*listening.getsockname()[:2], timeout=SECONDS)
        waiting.request("GET", "/healthz")
        manager.start("--config", str(settings), sockets={"http": listening})
        assert waiting.getresponse().status == 200
        waiting.close()


def test_sockets_of_grpc(manager: Manager, listening: socket.socket, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as user, socket.socket(socket.AF_UNIX) as admin:
        for opened, name in ((user, "user.sock"), (admin, "admin.sock")):
            opened.bind(str(tmp_path / name))
            opened.listen()
        manager.start(sockets={"grpc": user, "http": listening, "admin": admin, "else": listening})
        manager.wait_for("READY")
        assert health(tmp_path / "user.sock") == health(tmp_path / "admin.sock") == HealthCheckResponse.SERVING
        assert manager.stop() == 0
    assert {"user.sock", "admin.sock"} <= {path.name for path in tmp_path.iterdir()}, "they are the manager's to remove"
    assert "nothing is known to do with" in manager.log()


def health(path: Path) -> int:
    with grpc.insecure_channel(f"unix:{path}") as channel:
        return int(HealthStub(channel).Check(HealthCheckRequest(), timeout=SECONDS).status)


def test_alive_is_said_while_all_works(manager: Manager, listening: socket.socket, tmp_path: Path) -> None:
    manager.start(sockets={"http": listening}, watchdog=0.9)
    manager.wait_for("WATCHDOG")
    with sqlite3.connect(tmp_path / "state" / "node.db", isolation_level=None) as database:
        database.execute("BEGIN IMMEDIATE")
        wait_for(lambda: "does not work as it should" in manager.log(), "the daemon sees it", SECONDS)
        manager.listen()
        before = len(manager.heard)
        time.sleep(0.7)
        manager.listen()
        assert len(manager.heard) == before, "no beat while the database takes no writes"
        database.execute("ROLLBACK")
    database.close()
    manager.wait_for("WATCHDOG", after=before)
    manager.signal(signal.SIGSTOP)
    time.sleep(0.1)
    manager.listen()
    before = len(manager.heard)
    time.sleep(0.7)
    manager.listen()
    manager.signal(signal.SIGCONT)
    assert len(manager.heard) == before
    assert manager.stop() == 0
    assert int(manager.wait_for("STOPPING")["WATCHDOG_USEC"]) > 30e6


def _is_refused(url: str) -> bool:
    try:
        get(url)
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:
        return False  # it stood in the queue of a listener that was just closed
    return False


@pytest.mark.registry
def test_a_stop_lets_transfers_end(manager: Manager, tmp_path: Path) -> None:
    registry = Registry(tmp_path / "registry")
    registry.start()
    layer = images.random_layer(24, seed=5)
    name = registry.push("lab/large", "1", images.image([layer]))
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    manager.start("--listen", f"127.0.0.1:{port}")
    manager.wait_for("READY")
    host, _, rest = name.partition("/")
    path = nextflow.blob_path(f"x/{host.replace(':', '_')}/{rest}", images.sha256(layer.blob))
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
    connection.request("GET", path)
    answer = connection.getresponse()
    assert answer.status == 200
    received = hashlib.sha256(answer.read(1 << 20))
    manager.signal(signal.SIGTERM)
    manager.wait_for("STOPPING")
    wait_for(lambda: _is_refused(f"http://127.0.0.1:{port}/healthz"), "refusal", SECONDS)
    while part := answer.read(1 << 20):
        received.update(part)
        time.sleep(0.02)
    assert f"sha256:{received.hexdigest()}" == images.sha256(layer.blob)
    connection.close()
    assert manager.ended() == 0
    registry.stop()


def test_what_is_not_for_the_daemon_is_left_alone(manager: Manager, listening: socket.socket, free_port: int) -> None:
    manager.start(
        "--listen",
        f"127.0.0.1:{free_port}",
        sockets={"http": listening},
        variables={"LISTEN_PID": "1", "WATCHDOG_PID": "1"},
    )
    assert manager.wait_for("READY")["STATUS"] == f"serving 127.0.0.1:{free_port}"


def test_a_socket_of_the_wrong_kind(manager: Manager) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as wrong:
        wrong.bind(("127.0.0.1", 0))
        manager.start(sockets={"http": wrong})
        assert manager.ended() == 2
    assert "as http is not a listening TCP socket" in manager.log()


def test_a_socket_that_other_machines_reach(manager: Manager) -> None:
    with socket.create_server(("0.0.0.0", 0)) as wide:
        manager.start(sockets={"http": wide})
        assert manager.ended() == 2
    assert "allow_remote" in manager.log()
