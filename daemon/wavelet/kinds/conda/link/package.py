"""The maker of a package's layer: fetch the archive, link and compress it in a worker process, take the blob in."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from wavelet.image.digest import Digest
from wavelet.image.image import Image
from wavelet.kinds.conda.link.layer_info import MEDIA_TYPE
from wavelet.kinds.conda.link.layer_room import write_reserved
from wavelet.kinds.conda.link.package_linker import Made, link_package
from wavelet.kinds.conda.model.packages import PREFIX
from wavelet.kinds.conda.model.parts import PackageLayer
from wavelet.kinds.work import Work

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
