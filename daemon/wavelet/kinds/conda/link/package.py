"""The layer of a package: its archive is fetched, linked and compressed in a worker process, and the blob taken in."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from wavelet.archive.layer_writer import Outgrown
from wavelet.errors import UpstreamBroken
from wavelet.image.image import Content, Descriptor, Image
from wavelet.image.reference import Digest
from wavelet.kinds.conda.link.layer_info import MEDIA_TYPE
from wavelet.kinds.conda.link.package_linker import Made, link_package
from wavelet.kinds.conda.model.node import PackageLayer
from wavelet.kinds.conda.model.packages import PREFIX
from wavelet.kinds.kind import Work

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


INFLATED_LIMIT = 32 * 1000**3
"""Bytes that a package may inflate to, where no setting says so."""


async def make(plan: PackageLayer, work: Work, limit: int = INFLATED_LIMIT) -> Image:
    """Return the document of the layer as an image's descriptor, and the layer; see `link.info`.

    Raises:
        UpstreamError: the channel does not have the package that the lock names, or it is broken.
        NoSpace: there is no room for the layer.
    """
    package = plan.package
    begun = time.monotonic()
    archive = await work.archive(package.url, Digest.parse(f"sha256:{package.sha256}"), package.size)
    size = (await asyncio.to_thread(archive.stat)).st_size

    async def write(blob: Path, room: int) -> Made:
        python = plan.python, plan.site_packages
        return await work.run(link_package, archive, blob, package.url, PREFIX, *python, limit, room)

    made, layer = await write_reserved(work, package.url, size, write, lambda made: made.info.descriptor)
    document = await work.keep(made.info.encode(), MEDIA_TYPE)
    work.report(f"{package.file_name}: {made.info.size} bytes, made in {time.monotonic() - begun:.1f} s{_slowly(made)}")
    return Image.of(document.descriptor, [document, layer])


def _slowly(made: Made) -> str:
    return "" if made.codec == "isal" else f" (compressed by {made.codec}: this machine's ISA-L is not like others')"
