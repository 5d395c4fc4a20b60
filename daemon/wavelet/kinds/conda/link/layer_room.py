"""Room for a layer whose size nobody knows before it is made: what is set aside holds, and grows in few steps."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from wavelet.archive.layer_writer import Outgrown
from wavelet.errors import UpstreamBroken
from wavelet.image.image import Content
from wavelet.image.manifest import Descriptor
from wavelet.kinds.work import Work

T = TypeVar("T")

GROWTHS = 3, 30, 300
"""How many times its archive's size a layer may have, tried in turn: archives are compressed harder than layers."""

LEAST = 1024 * 1024
"""Bytes that are set aside for the smallest layer."""


async def write_reserved(
    work: Work, what: str, size: int, write: Callable[[Path, int], Awaitable[T]], described: Callable[[T], Descriptor]
) -> tuple[T, Content]:
    """Have a layer written, and take it into the store; return what `write` returned, and the layer.

    Args:
        work: see there.
        what: the archive, for errors.
        size: of the archive, in bytes.
        write: writes a file of at most so many bytes; it raises `Outgrown` where that is not enough.
        described: the descriptor of the layer, of what `write` has returned.

    Raises:
        NoSpace: there is not that much room.
        UpstreamBroken: no layer of an honest archive is that large.
    """
    for growth in GROWTHS:
        room = max(growth * size, LEAST)
        try:
            async with work.scratch(room) as directory:
                made = await write(directory / "layer", room)
                return made, await work.adopt(directory / "layer", described(made))
        except Outgrown:
            continue
    raise UpstreamBroken(f"{what}: its layer has more than {GROWTHS[-1]} times its {size} bytes")
