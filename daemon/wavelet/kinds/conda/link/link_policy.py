"""The policy of installation: where each path of a package goes, and what is changed in it (pure).

The rules are rattler's and conda's; what they do to a prefix on disk, a layer has to show. A change of them that
changes any layer's tar changes `model.node.LINKER`. ValueError: a path or a link
that no package may have, since it would reach outside of the prefix or hide what other layers have.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from wavelet.kinds.conda.link.package_metadata import EntryPoint, Metadata, Placeholder
from wavelet.kinds.conda.link.prefix_replacement import SHEBANG_LIMIT, through_shell

_NAME = r"(?!\.{1,2}(?:/|\Z)|\.wh\.)[^/\0]+"
"""A name that is no step up, and none by which a layer removes what is below it (image-spec layer.md, "Whiteouts")."""
_PATH = re.compile(rf"{_NAME}(?:/{_NAME})*")
_RECORDS = re.compile(r"conda-meta/(history|[^/]*\.json)", re.IGNORECASE)
"""What says what is installed: written for the whole environment, and for nobody else to claim."""
_NAME_LIMIT = 255
"""Bytes of a name that Linux's file systems take."""


@dataclass(frozen=True, slots=True)
class Python:
    """The Python that noarch packages are linked for: `3.12`, and its site-packages, relative to the prefix."""

    version: str
    site_packages: str


@dataclass(frozen=True, slots=True)
class Target:
    """Where a path goes, relative to the prefix, and the placeholder to replace in it."""

    path: str
    placeholder: Placeholder | None = None


@dataclass(frozen=True, slots=True)
class Links:
    """What a package installs.

    Attributes:
        targets: by path in the package.
        scripts: paths and contents of the scripts that are made for entry points.
        directories: all directories of the layer, the prefix itself (`""`) among them.
    """

    targets: Mapping[str, Target]
    scripts: Mapping[str, bytes]
    directories: frozenset[str]


def plan_links(metadata: Metadata, prefix: str, python: Python | None) -> Links:
    """Return what becomes of a package's paths. `python` is for noarch Python packages alone.

    Raises:
        ValueError: see the module; or there is no `python` for a package that needs one.
    """
    if not metadata.is_noarch_python:
        python = None
    elif python is None:
        raise ValueError("it is a noarch Python package, and the environment has no Python")
    scripts = {} if python is None else dict(_script(point, prefix, python) for point in metadata.entry_points)
    targets: dict[str, Target] = {}
    taken = set(scripts)
    directories = {""}
    for entry in metadata.paths:
        path = checked(_moved(entry.path, python))
        if entry.is_directory:
            directories |= {path, *parents(path)}
        elif path in scripts:
            continue
        elif path in taken:
            raise ValueError(f"it has two files for {path}")
        else:
            taken.add(path)
            targets[entry.path] = Target(path, entry.placeholder)
    for path in taken:
        _add_parents(path, directories)
    if both := sorted(directories & taken):
        raise ValueError(f"{both[0]} is a file or a link, and has files in it")
    return Links(targets, scripts, frozenset(directories))


def checked(path: str) -> str:
    """Return a path that stays below the prefix and is one of a file.

    Raises:
        ValueError: it is absolute, has `..` in it or a name that no file may have.
    """
    if _RECORDS.fullmatch(path):
        raise ValueError(f"{path[:300]!r} is where conda keeps its own records")
    if not _PATH.fullmatch(path) or any(len(name) > _NAME_LIMIT for name in path.encode().split(b"/")):
        raise ValueError(f"{path[:300]!r} is not a path that may be installed")
    return path


def parents(path: str) -> Iterator[str]:
    """Yield the directories above `path`, from below up to the prefix (`""`)."""
    while path:
        path = path.rpartition("/")[0]
        yield path


def _add_parents(path: str, directories: set[str]) -> None:
    for directory in parents(path):
        if directory in directories:
            return
        directories.add(directory)


def _moved(path: str, python: Python | None) -> str:
    if python is None:
        return path
    for folder, place in (("site-packages", python.site_packages), ("python-scripts", "bin")):
        if path.startswith(f"{folder}/"):
            return place + path[len(folder) :]
    return path


def _script(point: EntryPoint, prefix: str, python: Python) -> tuple[str, bytes]:
    """Return path and contents of an entry point's script, as rattler writes it."""
    interpreter = f"{prefix}/bin/python{python.version}".encode()
    short = len(interpreter) + len(b"#!") <= SHEBANG_LIMIT
    lines = (
        (b"#!" + interpreter if short else through_shell(interpreter)).decode(),
        "# -*- coding: utf-8 -*-",
        "import re",
        "import sys",
        "",
        f"from {point.module} import {point.function.partition('.')[0]}",
        "",
        "if __name__ == '__main__':",
        "\tsys.argv[0] = re.sub(r'(-script\\.pyw?|\\.exe)?$', '', sys.argv[0])",
        f"\tsys.exit({point.function}())",
        "",
    )
    return checked(f"bin/{point.command}"), "\n".join(lines).encode()
