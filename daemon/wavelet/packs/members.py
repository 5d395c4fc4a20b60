"""The members of a file that a site writes, read strictly: texts, lists, mappings, paths. Pure.

Every message begins with the place of what is wrong, as the site finds it: `packs/trace/pack.yaml: layers[1].url`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterator, Mapping, Sequence

from wavelet.bounded_yaml import Value
from wavelet.packs.model import PackRefused

PATH_LIMIT = 4096
NAME_LIMIT = 255
"""Bytes of a path and of a name in it (Linux: PATH_MAX, NAME_MAX)."""

_VARIABLE = re.compile(r"[^=\s\x00]+")


def refused(place: str, why: str) -> PackRefused:
    """Return the error of what stands at a place."""
    return PackRefused(f"{place}: {why}")


def mapping(value: Value, place: str, known: Collection[str]) -> Mapping[str, Value]:
    """Return a mapping whose keys are all known.

    Raises:
        PackRefused: it is none, or has another key.
    """
    if not isinstance(value, dict):
        raise refused(place, f"is not a mapping; its keys are {', '.join(sorted(known))}")
    for key in value:
        if key not in known:
            near = difflib.get_close_matches(key, known, 1)
            meant = f"; {near[0]} is meant?" if near else f"; there are {', '.join(sorted(known))}"
            raise refused(place, f"unknown key {key[:80]!r}{meant}")
    return value


def text(value: Value, place: str) -> str:
    """Return a text that is not empty.

    Raises:
        PackRefused: it is none.
    """
    if not isinstance(value, str) or not value or "\0" in value:
        raise refused(place, "is not a text")
    return value


def texts(value: Value, place: str) -> tuple[str, ...]:
    """Return a list of texts; one alone stands for a list of it.

    Raises:
        PackRefused: it is neither.
    """
    if isinstance(value, str):
        return (text(value, place),)
    return tuple(text(each, at) for at, each in items(value, place))


def items(value: Value, place: str) -> Iterator[tuple[str, Value]]:
    """Yield the members of a list with their places.

    Raises:
        PackRefused: it is no list.
    """
    if not isinstance(value, list):
        raise refused(place, "is not a list")
    for number, each in enumerate(value):
        yield f"{place}[{number}]", each


def environment(value: Value, place: str) -> tuple[str, ...]:
    """Return variables, `NAME=VALUE` each, of a mapping or of a list of such texts.

    Raises:
        PackRefused: it is neither, or a name is none.
    """
    if isinstance(value, dict):
        pairs = [(f"{place}.{name[:80]}", name, each) for name, each in value.items()]
    else:
        split = [(at, *text(each, at).partition("=")) for at, each in items(value, place)]
        if bare := next((at for at, _, equals, _ in split if not equals), None):
            raise refused(bare, "is not NAME=VALUE")
        pairs = [(at, name, each) for at, name, _, each in split]
    found = []
    for at, name, each in pairs:
        if not isinstance(each, str) or "\0" in each:
            raise refused(at, "is not a text")
        if _VARIABLE.fullmatch(name) is None:
            raise refused(at, f"{name[:80]!r} is not the name of a variable")
        found.append(f"{name}={each}")
    return tuple(found)


def path_in_pack(value: Value, place: str) -> str:
    """Return a path that is relative to the pack's directory.

    Raises:
        PackRefused: it is absolute, or leads out of it.
    """
    path = text(value, place)
    if path.startswith("/"):
        raise refused(place, f"{path!r} is absolute; paths are relative to the directory of the pack")
    parts = _parts(path, place)
    if ".." in parts:
        raise refused(place, f"{path!r} leads out of the directory of the pack")
    return "/".join(parts)


def path_in_image(value: Value, place: str) -> str:
    """Return an absolute path of an image, relative to its root: empty for the root itself.

    Raises:
        PackRefused: it is relative, has `..` in it, or a name that images have for something else.
    """
    path = text(value, place)
    if not path.startswith("/"):
        raise refused(place, f"{path!r} is not absolute; paths in the image begin with a slash")
    parts = _parts(path, place)
    if why := unusable(parts):
        raise refused(place, f"{path!r} {why}")
    return "/".join(parts)


def unusable(parts: Sequence[str]) -> str:
    """Return why a path of these names cannot be put into an image; empty: it can."""
    if ".." in parts:
        return "has `..` in it"
    if any(part.startswith(".wh.") for part in parts):
        return "has a name that begins with .wh., which in layers means that something is removed"
    if any(len(part.encode("utf-8", "surrogateescape")) > NAME_LIMIT for part in parts):
        return f"has a name of more than {NAME_LIMIT} bytes"
    try:
        length = len("/".join(parts).encode())
    except UnicodeEncodeError:
        return "is not UTF-8"
    return f"has more than {PATH_LIMIT} bytes" if length > PATH_LIMIT else ""


def _parts(path: str, place: str) -> list[str]:
    if len(path) > PATH_LIMIT:
        raise refused(place, f"a path of more than {PATH_LIMIT} characters")
    return [part for part in path.split("/") if part not in ("", ".")]
