"""Engines that `wavelet setup` sets up: real ones, each with files of its own, that pull plain names."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Protocol

from lab.engines import Podman, environment
from lab.processes import run

WAVELET = (sys.executable, "-m", "wavelet.cli.main")
PULL_SECONDS = 55.0

Done = subprocess.CompletedProcess[str]


class Intercepted(Protocol):
    """An engine whose plain names can be intercepted."""

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
