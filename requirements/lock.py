"""Locks what wavelet is run, tested and built with: `make lock`.

Writes `run.txt` (the daemon and what builds it) and `dev.txt` (the extra `dev` too) beside this file: one version of
each package and its hashes, for every platform and every Python that pyproject.toml admits. No index is named in them,
so that plain pip installs them from any. Without `--upgrade` only what pyproject.toml has changed is chosen anew.
"""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

HERE = Path(__file__).parent
PROJECT = HERE.parent / "pyproject.toml"
EDITABLE = "editables"
"""What hatchling asks for when it makes an editable install."""

OPTIONS = {"dev.txt": ["--extra", "dev"], "run.txt": ["--constraint", str(HERE / "dev.txt")]}
"""What tells the files apart, in the order in which they are written: what runs is what was tested."""


def lock(name: str, options: list[str]) -> None:
    """Write one of the files; packages of the build are in each, for an install without build isolation needs them."""
    project = tomllib.loads(PROJECT.read_text())
    build = "\n".join([*project["build-system"]["requires"], EDITABLE])
    uv = Path(sys.executable).with_name("uv")
    command = [uv, "pip", "compile", "--universal", "--python-version", _oldest(project["project"])]
    command += ["--generate-hashes", "--no-annotate", "--quiet", "--custom-compile-command", "make lock"]
    command += [*options, "--output-file", HERE / name, PROJECT, "-"]
    subprocess.run(command, input=build, text=True, check=True)


def _oldest(project: dict[str, str]) -> str:
    return project["requires-python"].removeprefix(">=")


if __name__ == "__main__":
    for file, its_own in OPTIONS.items():
        lock(file, [*its_own, *sys.argv[1:]])
