"""Calls over the network: with certificates on both sides, or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest

from lab.certificates import Authority, Issued
from lab.daemon import Daemon
from lab.grpc_site import Run
from lab.ports import free_port
from wavelet.client import Client, NoDaemon, Tls, WaveletRpcError


@dataclass
class Remote:
    """A daemon with a TLS listener."""

    address: str
    ca: Path
    directory: Path
    clients: Authority

    def tls(self, issued: Issued) -> Tls:
        """Return what a client with this certificate uses."""
        return Tls.read(ca=self.ca, certificate=issued.certificate, key=issued.key)


@pytest.fixture(scope="module")
def remote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Remote]:
    directory = tmp_path_factory.mktemp("tls")
    servers, clients = Authority(directory, "servers"), Authority(directory, "clients")
    server = servers.issue("server")
    address = f"127.0.0.1:{free_port()}"
    tls = {"listen": address, "certificate": str(server.certificate), "key": str(server.key)}
    node = Daemon(directory / "state", settings={"grpc": {"tls": tls | {"client_ca": str(clients.certificate)}}})
    try:
        node.start()
        yield Remote(address, servers.certificate, directory, clients)
    finally:
        node.stop()


def test_a_client_with_a_certificate_is_nobody_in_particular(remote: Remote, run: Run) -> None:
    tls = remote.tls(remote.clients.issue("me"))
    status = run(lambda c: c.status(), remote.address, tls=tls)
    assert not status.HasField("caller")
    assert not status.admin
    with pytest.raises(WaveletRpcError) as caught:
        run(lambda c: c.login("quay.io", "ann", "secret", unchecked=True), remote.address, tls=tls)
    assert caught.value.code is grpc.StatusCode.PERMISSION_DENIED


def test_a_certificate_of_others_is_refused(remote: Remote, tmp_path: Path) -> None:
    stranger = Authority(tmp_path, "strangers").issue("me")
    with Client(remote.address, tls=remote.tls(stranger)) as client, pytest.raises(NoDaemon, match="trusts"):
        client.status()


def test_a_daemon_of_others_is_refused(remote: Remote) -> None:
    mine = remote.clients.issue("mine")
    tls = Tls.read(ca=remote.clients.certificate, certificate=mine.certificate, key=mine.key)
    with Client(remote.address, tls=tls) as client, pytest.raises(NoDaemon, match=r"grpc\.tls\.listen"):
        client.status()


def test_a_key_is_not_shown(remote: Remote) -> None:
    assert "PRIVATE" not in repr(remote.tls(remote.clients.issue("shown")))
