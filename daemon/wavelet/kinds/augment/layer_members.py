"""The members of layers that are files of the store, read in a thread or in a worker. Nothing is unpacked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from wavelet.archive.inflated import open_inflated
from wavelet.archive.tar_reader import Bounds, Member, members_of
from wavelet.errors import UpstreamBroken
from wavelet.image.image import Content
from wavelet.kinds.kind import Work

INFLATED_LIMIT = 64 * 1024**3
"""Bytes that one layer of the image below may inflate to before the search is given up."""

SMALL = 256 * 1024
"""Bytes of a layer, as it is compressed, that is read in a thread."""

PATH_LIMIT = 4096
"""Characters of a path or link that is remembered: there are no longer ones (PATH_MAX), but headers may say so."""

WHITEOUT, OPAQUE = ".wh.", ".wh..wh..opq"
"""What the last part of a path begins with, or is, where a layer takes away what is below (image-spec, "Whiteouts")."""

T = TypeVar("T")


async def read_layer(work: Work, content: Content, function: Callable[..., T], *arguments: object) -> T:
    """Return what `function` returns of a layer's file and its name in errors, and of `arguments`."""
    path = await work.path(content)
    # What is small is read at once: a worker process may have to be started first.
    run = asyncio.to_thread if content.descriptor.size <= SMALL else work.run
    return await run(function, path, str(content.descriptor.digest), *arguments)


def members(layer: Path, name: str) -> Iterable[Member]:
    """Yield the members of a layer, which errors call `name`; contents are there until the next one is asked for.

    Raises:
        UpstreamBroken: it cannot be read, or is too large.
    """

    def broken(why: str) -> UpstreamBroken:
        return UpstreamBroken(f"the layer {name} cannot be read: {why}")

    with open_inflated(layer) as stream:
        yield from members_of(stream, Bounds(INFLATED_LIMIT, broken))


def relative(path: str) -> str:
    """Return a path of a tar without what says nothing: `./`, doubled slashes, slashes at its ends."""
    return "/".join(part for part in path.split("/") if part not in ("", "."))
