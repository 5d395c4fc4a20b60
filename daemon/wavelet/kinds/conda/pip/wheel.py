"""The maker of a wheel's layer: fetch the wheel, install and compress it in a worker process, take the blob in."""

from __future__ import annotations

import asyncio
import time
import urllib.parse
from pathlib import Path

from wavelet.image.image import Image
from wavelet.image.reference import Digest
from wavelet.kinds.conda.link.layer_info import MEDIA_TYPE, LayerInfo
from wavelet.kinds.conda.link.package import INFLATED_LIMIT, write_reserved
from wavelet.kinds.conda.model.node import WheelLayer
from wavelet.kinds.conda.pip.wheel_layer import write_layer
from wavelet.kinds.kind import Work


async def make(plan: WheelLayer, work: Work, limit: int = INFLATED_LIMIT) -> Image:
    """Return the document of the layer as an image's descriptor, and the layer; see `link.info`.

    Raises:
        UpstreamError: there is no such wheel as the lock names, or it is broken.
        NoSpace: there is no room for the layer.
    """
    wheel = plan.wheel
    begun = time.monotonic()
    file_name = urllib.parse.unquote(wheel.file_name)
    archive = await work.archive(wheel.url, Digest.parse(f"sha256:{wheel.sha256}"), wheel.size)
    size = (await asyncio.to_thread(archive.stat)).st_size

    async def write(blob: Path, room: int) -> LayerInfo:
        return await work.run(write_layer, archive, blob, file_name, plan.python, plan.site_packages, limit, room)

    info, layer = await write_reserved(work, wheel.url, size, write, lambda info: info.descriptor)
    document = await work.keep(info.encode(), MEDIA_TYPE)
    work.report(f"{file_name}: {info.size} bytes, made in {time.monotonic() - begun:.1f} s")
    return Image.of(document.descriptor, [document, layer])
