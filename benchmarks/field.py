"""Servers side by side: a plain registry, the same as a proxy, nginx, and wavelet, all warm with the same content."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self, TypeVar

import yaml
from load import Load, load

from lab import images
from lab.daemon import Daemon
from lab.http import answers, get
from lab.images import Image, Layer
from lab.ports import free_port
from lab.processes import Background, LabError
from lab.registry import Registry

T = TypeVar("T")

BLOB_BYTES = 61_000_000
READY_SECONDS = 10.0

_NGINX = """
daemon off;
worker_processes 1;
pid {directory}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  sendfile on;
  tcp_nopush on;
  keepalive_requests 1000000000;
  server {{
    listen 127.0.0.1:{port};
    root {directory}/root;
    default_type application/vnd.docker.distribution.manifest.v2+json;
  }}
  server {{
    listen 127.0.0.1:{slow_port};
    root {directory}/root;
    default_type application/vnd.docker.distribution.manifest.v2+json;
    limit_rate {rate};
    location = /v2/ {{ return 200; }}
  }}
}}
"""

SLOW_RATE = 125_000_000
"""Bytes a second that the slow upstream gives a connection: a network of 1 Gbit/s."""

_PIECE = 10_000_000


@dataclass(frozen=True)
class Served:
    """A load, and the CPU time that the server spent on it."""

    load: Load
    cpu_seconds: float


class Distribution(Registry):
    """docker-registry without an access log, with the cache of descriptors that Debian's configuration has."""

    def __init__(self, directory: Path, remote: str | None = None) -> None:
        """Prepare a registry, or with `remote` a pull-through proxy of that URL."""
        super().__init__(directory)
        path = directory / "config.yml"
        settings: dict[str, Any] = yaml.safe_load(path.read_text())
        settings["log"]["accesslog"]["disabled"] = True
        settings["storage"]["cache"] = {"blobdescriptor": "inmemory"}
        if remote is not None:
            settings["proxy"] = {"remoteurl": remote}
        path.write_text(yaml.safe_dump(settings))

    @property
    def pid(self) -> int:
        """The process id."""
        assert self._process is not None
        return self._process.pid


class Nginx:
    """nginx with files where a registry has manifests and blobs: the least that sending them can cost."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        port, slow_port = free_port(), free_port()
        self.url, self.slow_host = f"http://127.0.0.1:{port}", f"127.0.0.1:{slow_port}"
        directory.mkdir()
        text = _NGINX.format(directory=directory, port=port, slow_port=slow_port, rate=SLOW_RATE)
        (directory / "nginx.conf").write_text(text)
        directory.parent.chmod(0o755)

    def add(self, repository: str, tag: str, image: Image) -> None:
        """Lay an image where its paths are those of a registry."""
        base = self._directory / "root" / "v2" / repository
        for kind, files in (
            ("manifests", {tag: image.document, image.digest: image.document}),
            ("blobs", image.blobs),
        ):
            (base / kind).mkdir(parents=True, exist_ok=True)
            for name, data in files.items():
                (base / kind / name).write_bytes(data)

    def start(self) -> None:
        """Start it and wait until it answers."""
        command = ["nginx", "-c", str(self._directory / "nginx.conf"), "-p", str(self._directory)]
        self._process = Background(command, self._directory / "nginx.log", {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})
        self._process.wait_until(lambda: answers(self.url), READY_SECONDS)

    @property
    def pid(self) -> int:
        """The process id of its master."""
        return self._process.pid

    def stop(self) -> None:
        """Stop it."""
        self._process.stop()


class Field:
    """The servers, started as a context; `BLOB` and its manifest are in all of them, and warm."""

    REPOSITORY = "bench/big"
    TAG = "1"

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._stack = ExitStack()
        self._names = 0
        self._made: dict[Any, Any] = {}
        self.image = images.image([raw_layer(BLOB_BYTES, seed=61)])
        self.blob = self.image.json()["layers"][0]["digest"]
        self.registry = Distribution(directory / "registry")
        self.proxy = Distribution(directory / "proxy", self.registry.url)
        self.nginx = Nginx(directory / "nginx")
        self.daemon = Daemon(directory / "state")

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            for server in (self.registry, self.proxy, self.nginx, self.daemon):
                server.start()
                stack.callback(server.stop)
            self.registry.push(self.REPOSITORY, self.TAG, self.image)
            self.nginx.add(self.REPOSITORY, self.TAG, self.image)
            for base in self.bases().values():
                for path in (f"manifests/{self.TAG}", f"manifests/{self.image.digest}", f"blobs/{self.blob}"):
                    if get(f"{base}/{path}", accept=self.image.media_type).status != 200:
                        raise LabError(f"{base}/{path} cannot be read")
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def bases(self) -> dict[str, str]:
        """Return the repository's URL at each server, by the server's name in the table."""
        near = f"{self.daemon.url}/v2/{self.registry.host}/{self.REPOSITORY}"
        plain, proxy, nginx = (
            f"{server.url}/v2/{self.REPOSITORY}" for server in (self.registry, self.proxy, self.nginx)
        )
        return {"wavelet": near, "nginx": nginx, "distribution": plain, "its proxy": proxy}

    def loads(self, path: str, *, clients: int, headers: Sequence[str] = ()) -> dict[str, Callable[[], Served]]:
        """Return for each server a function that loads `path` of its repository for a second."""
        pids = {
            "wavelet": self.daemon.pid,
            "nginx": self.nginx.pid,
            "distribution": self.registry.pid,
            "its proxy": self.proxy.pid,
        }

        def once(name: str, base: str) -> Served:
            before = cpu_seconds(pids[name])
            counted = load(f"{base}/{path}", clients=clients, headers=headers)
            return Served(counted, cpu_seconds(pids[name]) - before)

        return {name: partial(once, name, base) for name, base in self.bases().items()}

    def once(self, make: Callable[[Field], AbstractContextManager[T]]) -> T:
        """Return what `make` has opened for several measures; it is closed with the field."""
        if make not in self._made:
            self._made[make] = self._stack.enter_context(make(self))
        return self._made[make]  # type: ignore[no-any-return]

    def fresh(self, name: str) -> Path:
        """Return a directory's path that nobody has used."""
        self._names += 1
        return self._directory / f"{name}{self._names}"


def raw_layer(size: int, seed: int) -> Layer:
    """Return a layer of `size` random bytes, which nothing here unpacks; the same seed gives the same bytes."""
    source = random.Random(seed)
    data = b"".join(source.randbytes(min(_PIECE, size - start)) for start in range(0, size, _PIECE))
    return Layer(data, data)


def cpu_seconds(leader: int) -> float:
    """Return the CPU time of a process and of its session: nginx's worker is a child, as old as nginx itself."""
    ticks = 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = path.read_text().rpartition(")")[2].split()
            if int(fields[3]) == leader:
                ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")
