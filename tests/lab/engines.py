"""Real container engines, as root on a plain machine: a private cgroup2 mount, no bridge, no firewall rules.

Each has `pull(name)` and `run(name, *command)`, which runs a container from what was pulled and returns its output.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import shlex
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from lab.processes import Background, run, stopping

ENGINE_SECONDS = 30.0
PULL_SECONDS = 55.0

_OWN_CGROUPS = ["unshare", "-m", "sh", "-c"]
_MOUNT = 'umount -R /sys/fs/cgroup 2>/dev/null; mount -t cgroup2 none /sys/fs/cgroup; exec "$@"'


def with_own_cgroups(*argv: str | Path) -> list[str]:
    """Return the command in a mount namespace with cgroup2 at its place; the process id stays the command's."""
    return [*_OWN_CGROUPS, _MOUNT, "sh", *map(str, argv)]


def environment(**more: str | Path) -> dict[str, str]:
    """Return what engines need of the environment: no proxies, no configuration of whoever runs the tests."""
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin:/usr/bin:/bin"
    return {"PATH": path, "HOME": "/root", **{name: str(value) for name, value in more.items()}}


class Engine(Protocol):
    """What the tests ask of an engine."""

    def pull(self, name: str) -> None:
        """Pull an image by name over plain http."""

    def run(self, name: str, *command: str) -> str:
        """Run a container of a pulled image and return what it prints."""

    def remove(self, name: str) -> None:
        """Forget a pulled image."""


class Docker:
    """A Docker engine with a root directory of its own.

    Attributes:
        file: its daemon.json.
        pid_file: where it writes its process id.
    """

    def __init__(
        self, directory: Path, hosts: str = "", settings: Mapping[str, object] | None = None, **more: str | Path
    ) -> None:
        """Prepare an engine.

        Args:
            directory: where all that it writes lies.
            hosts: lines of /etc/hosts that it alone sees.
            settings: what its daemon.json says.
            more: variables of dockerd.
        """
        self.file, self.pid_file = directory / ".config/docker/daemon.json", directory / "docker.pid"
        for each in (self.file, self.pid_file):
            each.parent.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._socket = directory / "docker.sock"
        self._environment = environment(DOCKER_CONFIG=directory / "client", HOME=directory, **more)
        self._hosts = hosts
        self.file.write_text(json.dumps(dict(settings or {})))

    @contextlib.contextmanager
    def running(self) -> Iterator[Docker]:
        """Run dockerd within the block, from when it answers; its containerd goes with it."""
        own = self._directory
        command: list[str | Path] = ["dockerd", "--config-file", self.file, "--bridge=none", "--iptables=false"]
        command += ["-H", f"unix://{self._socket}", "--data-root", own / "data", "--exec-root", own / "exec"]
        command += ["--pidfile", self.pid_file, "--storage-driver", "overlay2"]
        if self._hosts:
            (own / "hosts").write_text(self._hosts)
            command = ["sh", "-c", 'mount --bind "$0" /etc/hosts && exec "$@"', own / "hosts", *command]
        with stopping(Background(with_own_cgroups(*command), own / "dockerd.log", self._environment)) as daemon:
            daemon.wait_until(lambda: self._client("version", check=False).returncode == 0, ENGINE_SECONDS)
            yield self

    def _client(self, *arguments: str, check: bool = True) -> Any:
        command = ["docker", "-H", f"unix://{self._socket}", *arguments]
        return run(command, environment=self._environment, seconds=PULL_SECONDS, check=check)

    @property
    def variables(self) -> dict[str, str]:
        """The environment by which other programs' docker client finds this engine."""
        return {"DOCKER_HOST": f"unix://{self._socket}", "DOCKER_CONFIG": self._environment["DOCKER_CONFIG"]}

    @property
    def socket(self) -> Path:
        """The socket of its API."""
        return self._socket

    def pull(self, name: str) -> None:
        """Pull an image."""
        self._client("pull", "--quiet", name)

    def try_pull(self, name: str) -> subprocess.CompletedProcess[str]:
        """Pull an image, whatever comes of it."""
        done: subprocess.CompletedProcess[str] = self._client("pull", "--quiet", name, check=False)
        return done

    def pull_error(self, name: str) -> str:
        """Pull an image that cannot be pulled and return what the user is told."""
        done = self._client("pull", name, check=False)
        assert done.returncode != 0, done.stdout
        return str(done.stderr)

    def tag(self, name: str, other: str) -> None:
        """Give an image another name."""
        self._client("tag", name, other)

    def push(self, name: str) -> None:
        """Push an image."""
        self._client("push", "--quiet", name)

    def push_error(self, name: str) -> str:
        """Push an image that cannot be pushed and return what the user is told."""
        done = self._client("push", name, check=False)
        assert done.returncode != 0, done.stdout
        return str(done.stderr)

    def run(self, name: str, *command: str) -> str:
        """Run a container without network."""
        return str(self._client("run", "--rm", "--pull=never", "--network=none", name, *command).stdout)

    def digest(self, name: str) -> str:
        """Return the digest under which the engine knows the image."""
        shown = json.loads(self._client("image", "inspect", name).stdout)
        return str(shown[0]["RepoDigests"][0].partition("@")[2])

    def remove(self, name: str) -> None:
        """Forget an image."""
        self._client("rmi", "--force", name)


class Podman:
    """podman with storage of its own; it has no daemon."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        # podman takes no longer path for this one than 50 characters.
        short = tempfile.mkdtemp(prefix="podman-")
        atexit.register(shutil.rmtree, short, ignore_errors=True)
        self._storage = ["--root", str(directory / "storage"), "--runroot", short]
        self._storage += [
            "--tmpdir",
            str(directory / "tmp"),
            "--cgroup-manager",
            "cgroupfs",
            "--events-backend",
            "none",
        ]
        self._environment = environment(HOME=directory, REGISTRY_AUTH_FILE=directory / "auth.json")
        (directory / "auth.json").write_text("{}")

    def program(self, path: Path) -> None:
        """Write a program that is podman with this storage, for other programs that call podman."""
        given = [f"{name}={value}" for name, value in self._environment.items()]
        command = shlex.join(["env", *given, *with_own_cgroups("podman", *self._storage)])
        path.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
        path.chmod(0o755)

    @contextlib.contextmanager
    def service(self, socket: Path) -> Iterator[None]:
        """Serve podman's API at a socket."""
        command = with_own_cgroups("podman", *self._storage, "system", "service", "--time=0", f"unix://{socket}")
        process = Background(command, socket.with_suffix(".log"), self._environment)
        process.wait_until(socket.is_socket, ENGINE_SECONDS)
        with stopping(process):
            yield

    def _podman(self, *arguments: str) -> str:
        command = with_own_cgroups("podman", *self._storage, *arguments)
        return run(command, environment=self._environment, seconds=PULL_SECONDS).stdout

    def pull(self, name: str) -> None:
        """Pull an image over plain http."""
        self._podman("pull", "--quiet", "--tls-verify=false", name)

    def push(self, name: str, target: str) -> None:
        """Push an image under a name, over plain http."""
        self._podman("push", "--quiet", "--tls-verify=false", name, f"docker://{target}")

    def run(self, name: str, *command: str) -> str:
        """Run a container in the host's network namespace, without cgroups.

        It writes to podman's own output: what podman copies from a container that ends at once has been lost once.
        """
        limits = ["--network=host", "--cgroups=disabled", "--ulimit=nofile=1024:1024", "--ulimit=nproc=1000:1000"]
        options = ["--rm", "--pull=never", "--log-driver=passthrough", *limits]
        return self._podman("run", *options, name, *command)

    @contextlib.contextmanager
    def unpacked(self, name: str) -> Iterator[Path]:
        """Mount a pulled image, and give the directory where its files are as podman has unpacked them."""
        # Not in a mount namespace of its own: the mount would go with it.
        command = ["podman", *self._storage, "image"]
        mounted = run([*command, "mount", name], environment=self._environment, seconds=PULL_SECONDS).stdout
        try:
            yield Path(mounted.strip())
        finally:
            run([*command, "umount", name], environment=self._environment, seconds=PULL_SECONDS)

    def remove(self, name: str) -> None:
        """Forget an image."""
        self._podman("rmi", "--force", name)


class Containerd:
    """containerd and its client ctr: those of the system, or in a directory of their own."""

    def __init__(self, directory: Path, programs: Path | None = None) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._socket = directory / "containerd.sock"
        self._environment = environment(HOME=directory)
        if programs is not None:
            self._environment["PATH"] = f"{programs}:{self._environment['PATH']}"

    @contextlib.contextmanager
    def running(self) -> Iterator[Containerd]:
        """Run containerd within the block, from when it answers."""
        own = self._directory
        settings = (
            "version = 2\n"
            f'root = "{own}/root"\nstate = "{own}/state"\n'
            'disabled_plugins = ["io.containerd.grpc.v1.cri"]\n'
            f'[grpc]\n  address = "{self._socket}"\n'
        )
        (own / "config.toml").write_text(settings)
        command = with_own_cgroups("containerd", "--config", own / "config.toml")
        with stopping(Background(command, own / "containerd.log", self._environment)) as daemon:
            daemon.wait_until(lambda: self._ctr("version", check=False).returncode == 0, ENGINE_SECONDS)
            yield self

    def _ctr(self, *arguments: str, check: bool = True) -> Any:
        command = with_own_cgroups("ctr", "--address", self._socket, *arguments)
        return run(command, environment=self._environment, seconds=PULL_SECONDS, check=check)

    def pull(self, name: str) -> None:
        """Pull an image over plain http."""
        self._ctr("images", "pull", "--plain-http", name)

    @property
    def variables(self) -> dict[str, str]:
        """The environment by which ctr finds this engine."""
        return self._environment | {"CONTAINERD_ADDRESS": str(self._socket)}

    def pull_through(self, mirror: str, name: str) -> None:
        """Pull `name` through the mirror at this URL, by a hosts.toml for all hosts: containerd sends `?ns=`."""
        hosts = self._directory / "hosts" / "_default"
        hosts.mkdir(parents=True, exist_ok=True)
        (hosts / "hosts.toml").write_text(f'[host."{mirror}"]\n  capabilities = ["pull", "resolve"]\n')
        self._ctr("images", "pull", "--hosts-dir", str(hosts.parent), name)

    def pull_error(self, name: str) -> str:
        """Pull an image that cannot be pulled and return what the user is told."""
        done = self._ctr("images", "pull", "--plain-http", name, check=False)
        assert done.returncode != 0, done.stdout
        return str(done.stderr)

    def run(self, name: str, *command: str) -> str:
        """Run a container."""
        container = uuid.uuid4().hex  # runc keeps the containers of all containerds in one place
        return str(self._ctr("run", "--rm", "--net-host", "--cpu-shares", "0", name, container, *command).stdout)

    def digest(self, name: str) -> str:
        """Return the digest under which containerd knows the image."""
        shown = self._ctr("images", "list", f"name=={name}").stdout
        return str(next(word for word in shown.split() if word.startswith("sha256:")))

    def remove(self, name: str) -> None:
        """Forget an image and its content."""
        self._ctr("images", "remove", "--sync", name)


def skopeo(*arguments: str | Path, login: tuple[str, str] | None = None) -> Any:
    """Run skopeo, and return the value of the JSON that it prints, if it prints any."""
    command: Sequence[str | Path] = ["skopeo", "--insecure-policy", *arguments]
    if login:
        command = [*command, "--creds", ":".join(login)]
    text = run(command, environment=environment(HOME="/nonexistent")).stdout
    return json.loads(text) if text.lstrip().startswith(("{", "[")) else text
