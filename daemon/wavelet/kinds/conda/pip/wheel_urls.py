"""Requirements that name the URL of a wheel: fetched by the daemon, so that its digest is in the lock.

The resolver is given the file, and asks the URL for nothing: what a request names is reached by the daemon's rules for
addresses, which a process of others does not know.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import urllib.parse
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement
from packaging.tags import Tag
from packaging.utils import NormalizedName, canonicalize_name

from wavelet.errors import DigestMismatch, InvalidRequest, Unsolvable
from wavelet.kinds.conda.model.packages import Wheel
from wavelet.kinds.conda.pip.wheel_choice import best

FIELD = "packages"
"""The request's member at fault."""


@dataclass(frozen=True, slots=True)
class FetchedWheel:
    """A wheel on this machine: where, its sha256 in hexadecimal, and its bytes."""

    path: Path
    sha256: str
    size: int


Fetch = Callable[[str], Awaitable[FetchedWheel]]
"""Fetches the file of an http or https URL, which nothing verifies."""

_SHA256 = re.compile(r"sha256=([0-9a-fA-F]{64})")


@dataclass(frozen=True, slots=True)
class ByUrl:
    """Requirements as the resolver takes them, and the wheels that some of them are, by normalised name."""

    requirements: tuple[str, ...]
    wheels: dict[NormalizedName, Wheel]


def wheel_of(requirement: Requirement) -> Wheel | None:
    """Return the wheel that a requirement names by its URL, the sha256 empty if it is not said; None without a URL.

    Raises:
        InvalidRequest: the URL is none of a wheel, or what follows it is not its sha256.
    """
    if requirement.url is None:
        return None
    parts = urllib.parse.urlsplit(requirement.url)
    name = parts.path.rpartition("/")[2]
    if parts.scheme not in ("http", "https") or not parts.hostname or not name.endswith(".whl") or parts.query:
        message = f"pip: {requirement.name} is asked for by a URL that is none of a wheel; nothing is built from source"
        raise InvalidRequest(f"{message}, so give the http or https URL of a .whl file, or a name", field=FIELD)
    found = _SHA256.fullmatch(parts.fragment)
    if "@" in parts.netloc or (parts.fragment and found is None):
        message = f"pip: the URL of {requirement.name} has a login, or something else than #sha256=<hex> at its end"
        raise InvalidRequest(message, field=FIELD)
    if name.count("-") < 4 or canonicalize_name(urllib.parse.unquote(name).split("-")[0]) != canonicalize_name(
        requirement.name
    ):
        message = f"pip: {name[:200]!r} is not the file name of a wheel of {requirement.name}"
        raise InvalidRequest(message, field=FIELD)
    return Wheel(parts._replace(fragment="").geturl(), found[1].lower() if found is not None else "")


async def fetched(requirements: Iterable[str], fetch: Fetch, tags: tuple[Tag, ...], directory: Path) -> ByUrl:
    """Fetch what requirements name by URLs into a directory, and have them name the files.

    Raises:
        DigestMismatch: a file is not the one that the request says.
        Unsolvable: a wheel is not for the image.
        WaveletError: one cannot be had.
    """
    texts, wheels = [], dict[NormalizedName, Wheel]()
    for text in requirements:
        requirement = Requirement(text)
        wheel = wheel_of(requirement)
        if wheel is None:
            texts.append(text)
            continue
        if best([wheel.file_name], tags) is None:
            raise Unsolvable(f"pip: {wheel.file_name} is not for the image's platform and Python", field=FIELD)
        file = await fetch(wheel.url)
        if wheel.sha256 not in ("", file.sha256):
            message = f"pip: {wheel.url} has the sha256 {file.sha256}, not {wheel.sha256}"
            raise DigestMismatch(message, field=FIELD)
        path = directory / urllib.parse.unquote(wheel.file_name)
        await asyncio.to_thread(_place, file.path, path)
        requirement.url = path.as_uri()
        texts.append(str(requirement))
        wheels[canonicalize_name(requirement.name)] = Wheel(wheel.url, file.sha256, file.size)
    return ByUrl(tuple(texts), wheels)


def _place(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copyfile(source, target)
