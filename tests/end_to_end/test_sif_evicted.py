"""What a SIF is made of goes away while somebody downloads it slowly: it ends whole."""

from __future__ import annotations

import re
import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from lab import images, sif_asks
from lab.daemon import Daemon
from lab.http import get
from lab.registry import Registry

pytestmark = pytest.mark.registry

LAYERS = 4
MEGABYTES = 12
"""Of each layer: more than lies in the buffers of a connection, so that later parts are opened later."""
LIMIT = f"{4 * LAYERS * MEGABYTES}MB"
"""Room for a SIF while it is made: its layers, and all segments at once, for which twice as much is set aside."""
STEP = 64 * 1024
SECONDS = 60.0


class SlowDownload:
    """A download that takes a step at a time."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        head = b""
        while b"\r\n\r\n" not in head:
            head += connection.recv(STEP)
        text, _, self.body = head.partition(b"\r\n\r\n")
        assert b" 200 " in text, text
        found = re.search(rb"(?i)content-length: (\d+)", text)
        assert found is not None
        self.size = int(found[1])

    def go_on(self, to: int) -> bytes:
        """Read until so many bytes are there, and return all of them."""
        parts, count = [self.body], len(self.body)
        while count < min(to, self.size):
            part = self._connection.recv(STEP)
            assert part, f"the connection ended after {count} of {self.size} bytes"
            parts.append(part)
            count += len(part)
        self.body = b"".join(parts)
        return self.body


@contextmanager
def begun(node: Daemon, name: str) -> Iterator[SlowDownload]:
    """Begin to download the SIF of an image."""
    with closing(socket.socket()) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, STEP)
        connection.settimeout(SECONDS)
        connection.connect(("127.0.0.1", node.port))
        path = sif_asks.file_url(name).removeprefix(f"http://{node.authority}")
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {node.authority}\r\n\r\n".encode())
        yield SlowDownload(connection)


def pushed(registry: Registry, repository: str, seed: int) -> None:
    layers = [images.random_layer(MEGABYTES, seed + each, f"data/{each}") for each in range(LAYERS)]
    registry.push(repository, "1", images.busybox(*layers))


def test_its_parts_are_removed_from_the_disk(start_daemon: Callable[..., Daemon], registry: Registry) -> None:
    pushed(registry, "lab/sif-removed", 900)
    node = start_daemon()
    name = sif_asks.cached(node, registry, "lab/sif-removed:1")
    digest = sif_asks.digest(name)
    with begun(node, name) as download:
        download.go_on(MEGABYTES * 1024 * 512)
        shutil.rmtree(node.state / "blobs" / "sha256")
        (node.state / "blobs" / "sha256").mkdir(mode=0o700)
        assert images.sha256(download.go_on(download.size)) == digest
    assert "Traceback" not in node.log()


def test_its_parts_are_evicted_for_others(start_daemon: Callable[..., Daemon], registry: Registry) -> None:
    """The store has room for one SIF while it is made, and gives that to another one."""
    pushed(registry, "lab/sif-slow", 910)
    pushed(registry, "lab/sif-quick", 920)
    node = start_daemon(WAVELET_STORE_LIMIT=LIMIT, WAVELET_STORE_LEASE=0.1)
    slow, quick = (sif_asks.cached(node, registry, f"lab/sif-{each}:1") for each in ("slow", "quick"))
    digest = sif_asks.digest(slow)
    with begun(node, slow) as download:
        download.go_on(MEGABYTES * 1024 * 512)
        other = sif_asks.digest(quick)
        assert images.sha256(get(sif_asks.file_url(quick)).body) == other
        assert images.sha256(download.go_on(download.size)) == digest
    assert "evicted" in node.log()


def test_after_eviction_it_is_made_again(
    start_daemon: Callable[..., Daemon], registry: Registry, tmp_path: Path
) -> None:
    pushed(registry, "lab/sif-again", 930)
    pushed(registry, "lab/sif-between", 940)
    node = start_daemon(WAVELET_STORE_LIMIT=LIMIT, WAVELET_STORE_LEASE=0.1)
    name, between = (sif_asks.cached(node, registry, f"lab/sif-{each}:1") for each in ("again", "between"))
    first = sif_asks.download(name, tmp_path / "first.sif")
    sif_asks.download(between, tmp_path / "between.sif")
    assert sif_asks.download(name, tmp_path / "again.sif").read_bytes() == first.read_bytes()
