"""A process that copies images to a registry as the daemon does, one after the other, and says how each of that went.

    copier.py STATE mirror SOURCE@DIGEST TARGET …
    copier.py STATE push LAYOUT TARGET …

`LAYOUT` is a directory with an OCI layout, whose content is taken into the store of `STATE` before the clock starts.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import structlog

from lab.node import Node, open_node
from wavelet.image.image import OCI_MANIFEST, Content, Descriptor, Image, MadeBy, parse_document
from wavelet.image.reference import Digest, Reference
from wavelet.plan.tokens import NOBODY
from wavelet.push.image_push import ImagePusher
from wavelet.push.mirror import Mirror
from wavelet.push.progress import CopyProgress, OnProgress
from wavelet.push.pushed_blobs import PushedBlobs

STORE_BYTES = 4_000_000_000

Copy = Callable[[str, Reference, OnProgress], Awaitable[None]]
"""Copies the image with a name to a target."""


async def main(state: str, what: str, *names: str) -> None:
    """Copy, and print for each image seconds, bytes that were sent, and the peak of resident memory in MB."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    async with open_node(Path(state), STORE_BYTES) as node:
        copy = _mirroring(node) if what == "mirror" else await _pushing(node, names[::2])
        for source, target in zip(names[::2], names[1::2], strict=True):
            seen = [CopyProgress()]
            started = time.monotonic()
            await copy(source, Reference.parse(target), lambda now, seen=seen: seen.__setitem__(0, now))
            seconds = time.monotonic() - started
            print(json.dumps({"seconds": seconds, "bytes": seen[0].bytes_done, "memory": _peak()}))


def _mirroring(node: Node) -> Copy:
    mirror = Mirror(node.upstream, node.access, node.store, node.upstream.pusher, PushedBlobs(node.database))

    async def copy(source: str, target: Reference, on_progress: OnProgress) -> None:
        await mirror.copy(Reference.parse(source), target, NOBODY, on_progress)

    return copy


async def _pushing(node: Node, layouts: Sequence[str]) -> Copy:
    images = {layout: await _kept(node, Path(layout)) for layout in layouts}
    pusher = ImagePusher(node.resolver, node.store, node.upstream.pusher, PushedBlobs(node.database))

    async def copy(source: str, target: Reference, on_progress: OnProgress) -> None:
        await pusher.push(images[source], target, NOBODY, on_progress)

    return copy


async def _kept(node: Node, layout: Path) -> Image:
    """Take an image of an OCI layout into the store, as if it had been made here."""
    entry = json.loads((layout / "index.json").read_text())["manifests"][0]
    data = _path(layout, entry["digest"]).read_bytes()
    own = Descriptor(OCI_MANIFEST, Digest(entry["digest"]), len(data))
    source = MadeBy("bench")
    contents = [Content(each, source) for each in (own, *parse_document(data).descriptors)]
    for content in contents:
        digest = content.descriptor.digest
        if node.store.find(digest, source.origin) is None:
            async with node.store.scratch(content.descriptor.size, "a layer") as directory:
                file = directory / "layer"
                file.hardlink_to(_path(layout, digest))
                await node.store.adopt(file, digest, content.descriptor.size, source.origin)
    return Image.of(own, contents)


def _path(layout: Path, digest: str) -> Path:
    return layout / "blobs" / digest.replace(":", "/")


def _peak() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1000


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
