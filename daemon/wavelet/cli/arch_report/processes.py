"""The processes of a pipeline: of what `nextflow inspect` prints, and of the environment files of its modules."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from wavelet.cli.image_lists import containers_in
from wavelet.cli.input_files import text_of
from wavelet.errors import InvalidRequest

ENVIRONMENTS = ("environment.yml", "environment.yaml")
"""What modules call the file that their directive `conda` names."""

_SCRIPT = "main.nf"
_PROCESS = re.compile(r"^\s*process\s+[\"']?(\w+)", re.MULTILINE)
_GROUPS = ("modules", "nf-core", "local")
"""Directories above a module that are no part of its name."""
_LEFT_OUT = ("work",)
"""Directories that have no modules, and many files."""


@dataclass(frozen=True, slots=True)
class Process:
    """A process, by its name as Nextflow has it.

    Attributes:
        name: with the workflows that it is in, `RNASEQ:FASTQC`, where `nextflow inspect` has said it.
        container: as `nextflow inspect` says; empty: none.
        environment: the text of its environment file; empty: none was given.
        file: where that is.
    """

    name: str
    container: str = ""
    environment: str = ""
    file: str = ""

    @property
    def own_name(self) -> str:
        """Its name without the workflows that it is in."""
        return self.name.rpartition(":")[2]


def read_processes(sources: Iterable[str]) -> list[Process]:
    """Return the processes of files and directories, each once.

    Where there is an inspection, it says which processes there are, and environment files say of these what they are
    made of, as Wave's strategy `conda,container` has it; else every environment file is one.

    Args:
        sources: what `nextflow inspect` prints (`-` is stdin), environment files, or directories that have such.

    Raises:
        InvalidRequest: one cannot be read, or has no process.
    """
    inspected: list[Process] = []
    environments: list[Process] = []
    for source in sources:
        if source != "-" and Path(source).is_dir():
            environments += _of_directory(Path(source))
            continue
        text = text_of(source, "FILE")
        if text.lstrip().startswith("{"):
            inspected += [Process(name, container) for name, container in containers_in(text, source)]
        elif text.lstrip().startswith("process"):
            raise InvalidRequest(f"{source}: is a configuration; have `nextflow inspect` print JSON (-format json)")
        else:
            environments += _of_environment(Path(source), text, Path(source).parent)
    if not inspected:
        return list(dict.fromkeys(environments))
    known = {each.name: each for each in environments}
    merged = (_with(process, known.get(process.own_name)) for process in inspected)
    return list(dict.fromkeys(merged))


def _with(process: Process, module: Process | None) -> Process:
    return process if module is None else replace(process, environment=module.environment, file=module.file)


def _of_directory(directory: Path) -> list[Process]:
    found: list[Process] = []
    for place, names, files in os.walk(directory):
        names[:] = sorted(name for name in names if not name.startswith(".") and name not in _LEFT_OUT)
        for name in ENVIRONMENTS:
            if name in files:
                path = Path(place) / name
                found += _of_environment(path, text_of(str(path), "FILE"), directory)
    if not found:
        raise InvalidRequest(f"{directory}: no {' or '.join(ENVIRONMENTS)} is in it or below it")
    return found


def _of_environment(path: Path, text: str, root: Path) -> Iterator[Process]:
    """Yield the processes of an environment file: those of the script beside it, else one that is called after it."""
    try:
        names = _PROCESS.findall((path.parent / _SCRIPT).read_text("utf-8"))
    except (OSError, UnicodeDecodeError):
        names = []
    for name in names or [_name_by_place(path, root)]:
        yield Process(name, environment=text, file=str(path))


def _name_by_place(path: Path, root: Path) -> str:
    """Return the name that nf-core gives to a module by its directory: `samtools/sort` has SAMTOOLS_SORT."""
    parts = path.parent.relative_to(root).parts or path.parent.resolve().parts[-1:]
    start = max((index + 1 for index, part in enumerate(parts) if part in _GROUPS), default=0)
    return re.sub(r"\W", "_", "_".join(parts[start:]) or path.stem).upper()
