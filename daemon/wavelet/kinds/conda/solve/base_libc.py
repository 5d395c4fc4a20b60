"""The maker of `LibcOf`: which C library a base image has, found by looking through its layers from the top.

Its image is a small JSON document. The layers are read in a worker process, and no more of them than need be.
"""

from __future__ import annotations

from wavelet.image.image import Image, Manifest
from wavelet.kinds.conda.model.node import LibcOf
from wavelet.kinds.conda.model.packages import Libc
from wavelet.kinds.conda.solve.libc_scan import Seen, look
from wavelet.kinds.kind import Work, read_document

MEDIA_TYPE = "application/vnd.wavelet.libc.v1+json"

_CPUS = {"amd64": "x86_64", "arm64": "aarch64"}


async def make(plan: LibcOf, work: Work) -> Image:
    """Return the document on the base image's C library.

    Raises:
        UpstreamBroken: the image has a layer that cannot be read.
    """
    image = await work.realise(plan.base)
    _, manifest = await read_document(work, image.closure[image.descriptor.digest])
    layers = manifest.layers if isinstance(manifest, Manifest) else ()
    platform = next(iter(plan.base.description.platforms), None)
    cpu = _CPUS.get(platform.architecture, "") if platform else ""
    seen = Seen()
    for layer in reversed(layers):
        path = await work.path(image.closure[layer.digest])
        seen = await work.run(look, path, str(layer.digest), cpu, seen)
        if seen.glibc:
            break
    content = await work.keep(_verdict(seen).encode(), MEDIA_TYPE)
    return Image.of(content.descriptor, [content])


def _verdict(seen: Seen) -> Libc:
    if seen.glibc:
        return Libc("glibc", seen.glibc)
    return Libc("musl" if seen.musl else "")
