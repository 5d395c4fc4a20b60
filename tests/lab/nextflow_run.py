"""Unchanged Nextflow, run for real as it lies on the machine, with nothing fetched at run time.

Versions are stored in `WAVELET_NEXTFLOW_HOME` (by default `wavelet/nextflow` in the user's cache directory), each as
`VERSION/lib/*.jar` and `VERSION/plugins/nf-wave-X/{classes,lib}`, the plugin as Nextflow's own download unpacks it.
Where none is stored, a `nextflow` in PATH runs, with the plugins that its user's `NXF_HOME` has.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from lab.processes import run

HOME_VARIABLE = "WAVELET_NEXTFLOW_HOME"
IN_PATH = "nextflow-in-path"
RUN_SECONDS = 50.0

_OPENED = (
    "java.lang java.io java.nio java.net java.util java.util.concurrent.locks java.util.concurrent.atomic "
    "java.nio.file.spi sun.nio.ch sun.nio.fs sun.net.www.protocol.http sun.net.www.protocol.https "
    "sun.net.www.protocol.ftp sun.net.www.protocol.file jdk.internal.misc jdk.internal.vm java.util.regex"
)
"""Packages that Nextflow's launcher opens; without them a task's record cannot be read again for `-resume`."""


def home() -> Path:
    """Return where versions are stored."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
    return Path(os.environ.get(HOME_VARIABLE) or Path(cache) / "wavelet/nextflow")


def stored() -> list[str]:
    """Return the versions that are stored with their plugin, oldest first."""
    return sorted(path.parent.parent.name for path in home().glob("*/plugins/nf-wave-*"))


def versions() -> list[str]:
    """Return what can be run here: the versions that are stored, else the one in PATH."""
    return stored() or ([IN_PATH] if shutil.which("nextflow") else [])


def absence() -> str:
    """Return why Nextflow cannot run here, or nothing."""
    if shutil.which("java") is None:
        return "needs java (apt-get install openjdk-17-jre-headless)"
    if versions():
        return ""
    return f"needs nextflow in PATH, or versions with their nf-wave plugin in {home()} ({HOME_VARIABLE})"


class Nextflow:
    """One version, running pipelines in a directory of its own."""

    def __init__(self, version: str, directory: Path, environment: Mapping[str, str]) -> None:
        """Prepare a version.

        Args:
            version: one of `versions()`.
            directory: where its runs start; work directories, logs and histories stay in it.
            environment: what container engines need of the environment; PATH among it.
        """
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self._command, where = _installed() if version == IN_PATH else _stored(version, directory)
        self._environment = (
            dict(environment)
            | where
            | {
                "NXF_OFFLINE": "true",
                "NXF_DISABLE_CHECK_LATEST": "true",
                "NXF_ANSI_LOG": "false",
                "HOME": str(directory),
            }
        )

    def __call__(self, *arguments: str | Path, config: str = "", seconds: float = RUN_SECONDS) -> Outcome:
        """Run `nextflow ARGUMENTS` with this nextflow.config, whatever its exit status."""
        (self._directory / "nextflow.config").write_text(config)
        inside: list[str | Path] = ["sh", "-c", 'cd "$1" && shift && exec "$@"', "sh", self._directory]
        done = run([*inside, *self._command, *arguments], environment=self._environment, seconds=seconds, check=False)
        return Outcome(done, self._directory)


def _stored(version: str, directory: Path) -> tuple[list[str], dict[str, str]]:
    """Return the command of a stored version, and what it needs of the environment."""
    place = home() / version
    opened = [f"--add-opens=java.base/{name}=ALL-UNNAMED" for name in _OPENED.split()]
    java = ["java", "-Xmx512m", "-XX:TieredStopAtLevel=1", *opened, "-cp", f"{place}/lib/*"]
    variables = {"NXF_HOME": str(directory / "home"), "NXF_PLUGINS_DIR": str(place / "plugins")}
    return [*java, "nextflow.cli.Launcher"], variables


def _installed() -> tuple[list[str], dict[str, str]]:
    """Return the command that is in PATH, and where its user's plugins are."""
    program = shutil.which("nextflow")
    assert program is not None, "absence() tells"
    place = os.environ.get("NXF_HOME") or Path("~/.nextflow").expanduser()
    return [program], {"NXF_HOME": str(place)}


class Outcome:
    """What a run printed and left behind."""

    def __init__(self, done: subprocess.CompletedProcess[str], directory: Path) -> None:
        self.status = done.returncode
        self.printed = done.stdout
        self.complaint = done.stderr
        log = directory / ".nextflow.log"
        self.log = log.read_text("utf-8", "replace") if log.exists() else ""

    def __str__(self) -> str:
        return f"exit status {self.status}\n{self.printed}\n{self.complaint}\n{self.log[-6000:]}"
