"""Engines that `wavelet setup` sets up: real ones, each with files of its own, that pull plain names."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Protocol

from groups import program
from lab.engines import Containerd, Docker, Podman, environment, with_own_cgroups
from lab.processes import run

WAVELET = (sys.executable, "-m", "wavelet.cli.main")
PULL_SECONDS = 55.0

Done = subprocess.CompletedProcess[str]


class Intercepted(Protocol):
    """An engine whose plain names can be intercepted.

    Attributes:
        plain: whether it asks a registry at 127.0.0.1 by plain http.
    """

    plain: bool

    def setup(self, *arguments: str) -> Done:
        """Run `wavelet setup` for it."""

    def pull(self, name: str) -> Done:
        """Pull a plain name as users do, whatever comes of it."""

    def forget(self, name: str) -> None:
        """Forget an image, so that it is pulled again."""


def wavelet_setup(variables: dict[str, str], *arguments: str) -> Done:
    """Run `wavelet setup` as a process of its own."""
    return run([*WAVELET, "setup", *arguments], environment=variables, check=False)


class InterceptedPodman:
    """podman, by a user's drop-ins."""

    plain = False

    def __init__(self, directory: Path, trusted: Path) -> None:
        self._podman = Podman(directory)
        programs = directory / "bin"
        programs.mkdir()
        self._program = programs / "podman"
        self._podman.program(self._program)
        self._environment = environment(HOME=directory, SSL_CERT_FILE=trusted)
        self._environment["PATH"] = f"{programs}:{self._environment['PATH']}"

    def setup(self, *arguments: str) -> Done:
        """Run `wavelet setup podman`."""
        return wavelet_setup(self._environment, "podman", *arguments)

    def pull(self, name: str) -> Done:
        """Pull a name."""
        return run([self._program, "pull", "--quiet", name], environment=self._environment, check=False)

    def forget(self, name: str) -> None:
        """Remove an image."""
        run([self._program, "rmi", "--force", name], environment=self._environment)


class InterceptedSkopeo:
    """skopeo, by a user's drop-ins, in a PATH without podman."""

    plain = False

    def __init__(self, directory: Path, trusted: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._target = directory / "pulled"
        programs = directory / "bin"
        programs.mkdir()
        (programs / "skopeo").symlink_to("/usr/bin/skopeo")
        self._environment = environment(HOME=directory, SSL_CERT_FILE=trusted, PATH=programs)

    def setup(self, *arguments: str) -> Done:
        """Run `wavelet setup podman`, which is for skopeo, too."""
        return wavelet_setup(self._environment, "podman", *arguments)

    def pull(self, name: str) -> Done:
        """Copy an image to a directory."""
        command = ["/usr/bin/skopeo", "--insecure-policy", "copy", f"docker://{name}", f"dir:{self._target}"]
        return run(command, environment=self._environment, check=False)

    def forget(self, name: str) -> None:
        """Do nothing: a copy is made anew each time."""


def containerd2_programs(directory: Path) -> Path:
    """Return a directory in which containerd and ctr are those of version 2, which are installed by other names."""
    programs = directory / "bin"
    programs.mkdir(parents=True)
    for name in ("containerd", "ctr"):
        found = program(f"{name}-2")
        assert found is not None, "groups.py tells"
        (programs / name).symlink_to(found)
    return programs


class InterceptedContainerd:
    """A containerd that runs, by a user's hosts.toml files; without its CRI, which reads the same ones."""

    plain = True

    def __init__(self, engine: Containerd) -> None:
        self._variables = engine.variables
        self._hosts = Path(self._variables["HOME"]) / ".config/containerd/certs.d"

    def setup(self, *arguments: str) -> Done:
        """Run `wavelet setup containerd --user`."""
        return wavelet_setup(self._variables, "containerd", "--user", *arguments)

    def pull(self, name: str) -> Done:
        """Pull a name."""
        return self._ctr("pull", "--hosts-dir", self._hosts, name)

    def forget(self, name: str) -> None:
        """Remove an image."""
        self._ctr("remove", "--sync", name)

    def _ctr(self, *arguments: str | Path) -> Done:
        command = with_own_cgroups("ctr", "images", *arguments)
        return run(command, environment=self._variables, seconds=PULL_SECONDS, check=False)


class InterceptedDocker:
    """A Docker engine that runs, set up as a user's own. Its registry is docker.io."""

    plain = False

    def __init__(self, engine: Docker) -> None:
        self._engine = engine
        own = engine.pid_file.parent
        self._variables = environment(HOME=own, XDG_RUNTIME_DIR=own, **engine.variables)

    def setup(self, *arguments: str) -> Done:
        """Run `wavelet setup docker --user`."""
        return wavelet_setup(self._variables, "docker", "--user", *arguments)

    def pull(self, name: str) -> Done:
        """Pull a name."""
        return self._engine.try_pull(name)

    def forget(self, name: str) -> None:
        """Remove an image."""
        self._engine.remove(name)
