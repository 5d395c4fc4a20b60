"""ORAS, a client of registries for files: it takes a SIF out of an image as Apptainer does."""

from __future__ import annotations

from pathlib import Path

from groups import program
from lab.engines import environment
from lab.processes import LabError, run

CONFIG = "application/vnd.sylabs.sif.config.v1+json"
LAYER = "application/vnd.sylabs.sif.layer.v1.sif"
PULL_SECONDS = 120.0


def pull(name: str, directory: Path) -> Path:
    """Pull a name over plain http into a new directory, and return the one file that was in it."""
    _oras("pull", "--plain-http", "--no-tty", "--output", directory, name, place=directory.parent)
    (file,) = (path for path in directory.rglob("*") if path.is_file())
    return file


def pull_error(name: str, directory: Path) -> str:
    """Pull a name that cannot be pulled and return what the user is told."""
    try:
        pull(name, directory)
    except LabError as error:
        return str(error)
    raise LabError(f"{name} could be pulled")


def push(file: Path, name: str) -> None:
    """Push a SIF as Apptainer does, over plain http."""
    config = file.with_name("config.json")
    config.write_text("{}")
    layer, empty = f"{file.name}:{LAYER}", f"{config.name}:{CONFIG}"
    _oras("push", "--plain-http", "--no-tty", "--config", empty, name, layer, place=file.parent)


def _oras(*arguments: str | Path, place: Path) -> None:
    found = program("oras")
    if found is None:
        raise LabError("no oras on this machine")
    run(["env", f"--chdir={place}", found, *arguments], environment=environment(HOME=place), seconds=PULL_SECONDS)
