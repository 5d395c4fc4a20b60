"""Lists of images: a name a line, or what `nextflow inspect` prints, in both of its forms."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from msgspec import Struct

from wavelet.errors import InvalidRequest
from wavelet.foreign_json import ForeignJsonError, decode

_SCHEME = "docker://"
_ELSEWHERE = ("/", "./", "../", "file:", "http:", "https:", "oras:", "library:", "shub:")
"""How containers begin that are files, or of stores that are no registries of container engines."""

_CONFIGURATION = re.compile(r"process\s*\{")
_CONTAINER = re.compile(r"""\bcontainer\s*=\s*(['"])(?P<name>.*?)\1""")
_NONE = "null"
"""What a configuration of `nextflow inspect` has for a process without container."""


class _Process(Struct):
    name: object = None
    container: object = None


class _Inspection(Struct):
    processes: list[_Process | None]


def names_in(text: str, source: str) -> list[str]:
    """Return the images that a list has, each once: its containers, but for files and those of no registry.

    Raises:
        InvalidRequest: as `listed` has it.
    """
    return unique(filter(None, map(image_of, listed(text, source))))


def listed(text: str, source: str) -> list[str]:
    """Return the containers that a list has, each once, as they stand there.

    Args:
        text: the list: JSON or a configuration as of `nextflow inspect`, else a name a line, where empty lines and
            those that begin with `#` have none.
        source: where it comes from, for errors.

    Raises:
        InvalidRequest: it is JSON, and has no processes.
    """
    if text.lstrip().startswith("{"):
        found: Iterable[str] = (container for _, container in containers_in(text, f"--file: {source}"))
    elif _CONFIGURATION.match(text.lstrip()):
        found = (each["name"] for each in _CONTAINER.finditer(text) if each["name"] != _NONE)
    else:
        found = _of_lines(text)
    return unique(filter(None, found))


def image_of(container: str) -> str:
    """Return the image that a container of a process is; nothing where it is a file, or of no registry of engines."""
    return "" if container.startswith(_ELSEWHERE) else container.removeprefix(_SCHEME)


def unique(names: Iterable[str]) -> list[str]:
    """Return names in their order, each once."""
    return list(dict.fromkeys(names))


def _of_lines(text: str) -> Iterator[str]:
    for line in text.splitlines():
        name = line.strip()
        if name and not name.startswith("#"):
            yield name


def containers_in(text: str, source: str) -> Iterator[tuple[str, str]]:
    """Yield the processes that `nextflow inspect -format json` prints: name, and container; empty where it has none.

    Args:
        text: what it prints.
        source: where that comes from, for errors.

    Raises:
        InvalidRequest: it is something else.
    """
    try:
        processes = decode(text.encode(), _Inspection).processes
    except (ForeignJsonError, UnicodeEncodeError):
        message = "is not what `nextflow inspect -format json` prints: an object with a list `processes`"
        raise InvalidRequest(f"{source} {message}") from None
    for process in processes:
        if process is not None:
            yield _text(process.name), _text(process.container)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
