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
    found = _of_processes(text, source) if text.lstrip().startswith("{") else _of_lines(text)
    return unique(name.removeprefix(_SCHEME) for name in found if not name.startswith(_ELSEWHERE))


def unique(names: Iterable[str]) -> list[str]:
    """Return names in their order, each once."""
    return list(dict.fromkeys(names))


def _of_lines(text: str) -> Iterator[str]:
    for line in text.splitlines():
        name = line.strip()
        if name and not name.startswith("#"):
            yield name


def _of_processes(text: str, source: str) -> Iterator[str]:
    try:
        processes = decode(text.encode(), _Inspection).processes
    except (ForeignJsonError, UnicodeEncodeError):
        message = "is not what `nextflow inspect -format json` prints: an object with a list `processes`"
        raise InvalidRequest(f"--file: {source} {message}") from None
    containers = [process.container for process in processes if process is not None]
    yield from (name for name in containers if isinstance(name, str) and name)
