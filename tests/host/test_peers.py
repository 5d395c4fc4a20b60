"""Who owns the other end of a connection, by the kernel's answers, with real sockets."""

import asyncio
import contextlib
import os
import socket
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from wavelet.errors import AccessRefused
from wavelet.host import tcp_table
from wavelet.host.peers import Peers

HOSTS = ["127.0.0.1", "127.8.9.10", "::1", "::ffff:127.0.0.1"]


class Accepted(asyncio.BaseTransport):
    """As much of an accepted connection as is looked at."""

    def __init__(self, peername: Any, sockname: Any) -> None:
        super().__init__({"peername": peername, "sockname": sockname})

    @classmethod
    def of(cls, accepted: socket.socket) -> "Accepted":
        return cls(accepted.getpeername(), accepted.getsockname())


@pytest.fixture(params=["netlink", "table"])
def peers(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Peers]:
    peers = Peers()
    if request.param == "table":
        peers.close()
    else:
        monkeypatch.setattr(tcp_table, "connected", lambda *_: pytest.fail("the table is read"))
        with socket.create_server(("127.0.0.1", 0)) as server, connect(server) as (_, accepted):
            peers.uid_of(Accepted.of(accepted))
    yield peers
    peers.close()


def listen(host: str = "127.0.0.1") -> socket.socket:
    """On both families for IPv6, as `[::]` is served."""
    server = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    if server.family == socket.AF_INET6:
        server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    server.bind((host, 0))
    server.listen()
    return server


@contextlib.contextmanager
def connect(server: socket.socket, host: str = "127.0.0.1") -> Iterator[tuple[socket.socket, socket.socket]]:
    with socket.create_connection((host, server.getsockname()[1]), timeout=5) as client:
        accepted, _ = server.accept()
        with accepted:
            yield client, accepted


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("bound", ["same", "::"])
def test_a_connection_from_this_process(peers: Peers, host: str, bound: str) -> None:
    with listen(host if bound == "same" else "::") as server, connect(server, host) as (_, accepted):
        assert peers.uid_of(Accepted.of(accepted)) == os.geteuid()


def test_an_ipv6_socket_that_speaks_ipv4(peers: Peers) -> None:
    with listen() as server, connect(server, "::ffff:127.0.0.1") as (client, accepted):
        assert client.family == socket.AF_INET6
        assert accepted.getpeername()[0] == "127.0.0.1"
        assert peers.uid_of(Accepted.of(accepted)) == os.geteuid()


def test_a_client_that_has_gone_is_nobody(peers: Peers) -> None:
    with listen() as server, connect(server) as (client, accepted):
        client.close()
        assert peers.uid_of(Accepted.of(accepted)) is None


def test_a_client_that_has_been_reset_is_nobody(peers: Peers) -> None:
    with listen() as server, connect(server) as (client, accepted):
        seen = Accepted.of(accepted)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()
        assert peers.uid_of(seen) is None


def test_a_half_closed_client_is_nobody(peers: Peers) -> None:
    with listen() as server, connect(server) as (client, accepted):
        client.shutdown(socket.SHUT_WR)
        assert peers.uid_of(Accepted.of(accepted)) is None


def test_what_listens_on_the_clients_port_is_not_the_client(peers: Peers) -> None:
    with listen() as server, listen() as stranger:
        assert peers.uid_of(Accepted(stranger.getsockname(), server.getsockname())) is None


def test_the_answers_are_those_of_the_question(peers: Peers) -> None:
    """After a question without an answer the next is answered right."""
    with listen() as server, connect(server) as (_, accepted):
        for port in range(1, 50):
            assert peers.uid_of(Accepted(("127.0.0.1", port), ("127.0.0.1", 1))) is None
            assert peers.uid_of(Accepted.of(accepted)) == os.geteuid()


@pytest.mark.parametrize(
    "name",
    [
        None,
        "",
        "/run/socket",
        (),
        ("x",),
        ("not an address", 1),
        ("192.0.2.1", 1),
        ("10.0.0.1", 1),
        ("2001:db8::1", 1, 0, 0),
        ("fe80::1%eth0", 1, 0, 2),
        ("::", 1, 0, 0),
        ("::ffff:10.0.0.1", 1, 0, 0),
        ("0.0.0.0", 1),
    ],
)
def test_others_are_nobody(name: Any) -> None:
    peers = Peers()
    assert peers.uid_of(Accepted(name, ("127.0.0.1", 9090))) is None
    assert peers.uid_of(Accepted(("127.0.0.1", 9090), name)) is None
    peers.close()


def test_a_kernel_that_does_not_say_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(*_: object) -> None:
        raise PermissionError("closed")

    peers = Peers()
    peers.close()
    monkeypatch.setattr(tcp_table, "connected", read)
    with pytest.raises(AccessRefused, match=r"the kernel does not say who calls.*closed"):
        peers.uid_of(Accepted(("127.0.0.1", 1), ("127.0.0.1", 2)))


def test_the_first_question_may_fall_back_on_the_table() -> None:
    peers = Peers()
    with listen() as server, connect(server) as (_, accepted):
        seen = Accepted.of(accepted)
        assert peers.uid_of(Accepted(("127.0.0.1", 1), ("127.0.0.1", 1))) is None
        assert peers.uid_of(seen) == os.geteuid()
    peers.close()


@pytest.mark.users
@pytest.mark.skipif(os.geteuid() != 0, reason="acting as other users takes root")
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_other_users_and_the_unknown_one(peers: Peers, host: str) -> None:
    for uid, seen in ((54321, 54321), (1, 1), (65534, None), (2**31, 2**31), (2**32 - 2, 2**32 - 2)):
        with listen(host) as server:
            connects = f"exec 3<>/dev/tcp/{host}/{server.getsockname()[1]}; echo; read"
            # Not Popen's `user`: it forks, and where grpc has threads in this process the child may never get to run.
            command = ["setpriv", f"--reuid={uid}", "--clear-groups", "bash", "-c", connects]
            with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as client:
                accepted, _ = server.accept()
                with accepted:
                    assert peers.uid_of(Accepted.of(accepted)) == seen
                    client.communicate(b"\n", timeout=10)
                    assert peers.uid_of(Accepted.of(accepted)) is None
