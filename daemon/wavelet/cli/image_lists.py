"""Lists of images: a name a line, or what `nextflow inspect` prints."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from msgspec import Struct

from wavelet.errors import InvalidRequest
from wavelet.foreign_json import ForeignJsonError, decode

_SCHEME = "docker://"
_ELSEWHERE = ("/", "./", "../", "file:", "http:", "https:", "oras:", "library:", "shub:")
"""How containers begin that are files, or of stores that are no registries of container engines."""


class _Process(Struct):
    name: object = None
    container: object = None


class _Inspection(Struct):
    processes: list[_Process | None]


def names_in(text: str, source: str) -> list[str]:
    """Return the names that a list has, each once; empty lines and those that begin with `#` have none.

    Args:
        text: the list; one that begins with `{` is JSON as of `nextflow inspect`.
        source: where it comes from, for errors.

    Raises:
        InvalidRequest: it is JSON, and has no processes.
    """
    if text.lstrip().startswith("{"):
        found: Iterable[str] = (container for _, container in containers_in(text, f"--file: {source}"))
    else:
        found = _of_lines(text)
    return unique(filter(None, map(image_of, found)))


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
