"""A `Work` without a store: content in a directory, makers called directly, each plan made once."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from lab import images
from wavelet import directory_trees
from wavelet.errors import ImageNotFound, UpstreamBroken
from wavelet.image.image import Content, Descriptor, Image, MadeBy, Manifest, parse_document
from wavelet.image.reference import Digest, Platform, Reference
from wavelet.kinds.conda.compose import image as conda_image
from wavelet.kinds.conda.link import package
from wavelet.kinds.conda.model.node import LockedEnvironment, PackageLayer, WheelLayer
from wavelet.kinds.conda.model.packages import Package
from wavelet.kinds.conda.pip import wheel
from wavelet.kinds.kind import from_upstream
from wavelet.kinds.registry_image.node import RegistryImage
from wavelet.plan.canonical import key as key_of
from wavelet.plan.node import Node

T = TypeVar("T")

AMD64 = Platform.parse("amd64")


class Everything:
    """All content and images that there are. `made` counts how often each kind of plan was made."""

    def __init__(
        self, directory: Path, makers: Mapping[type, Callable[[Any, Any], Awaitable[Image]]] | None = None
    ) -> None:
        directory.mkdir(exist_ok=True)
        self.directory = directory
        self.archives: dict[str, Path] = {}
        self.images: dict[str, Image] = {}
        self.derived: set[Digest] = set()
        self.made: list[str] = []
        self.lines: list[str] = []
        self.makers = {
            PackageLayer: package.make,
            WheelLayer: wheel.make,
            LockedEnvironment: conda_image.make,
            **(makers or {}),
        }

    def base(self, base: images.Image, platform: Platform = AMD64) -> RegistryImage:
        """Make an image of the lab a base for a platform."""
        for blob in (base.document, *base.blobs.values()):
            (self.directory / Digest.of(blob).hex).write_bytes(blob)
        reference = Reference.parse("quay.io/lab/base").at(Digest.of(base.document))
        view = parse_document(base.document)
        assert isinstance(view, Manifest)
        own = Descriptor(view.media_type, Digest.of(base.document), len(base.document))
        plan = RegistryImage(reference, platform)
        self.images[key_of(plan)] = Image.of(own, from_upstream(reference.repository, (own, *view.descriptors)))
        return plan

    def package(self, archive: Path, channel: str = "https://packages.test/lab") -> Package:
        """Have a package's archive under a channel's address."""
        url = f"{channel}/{archive.parent.name}/{archive.name}"
        data = archive.read_bytes()
        self.archives[url] = archive
        return Package.of(url, Digest.of(data).hex, None, len(data))

    def file(self, content: Content) -> Path:
        """Return where content is."""
        return self.directory / content.descriptor.digest.hex

    async def realise(self, plan: Node) -> Image:
        """Make a plan, once."""
        key = key_of(plan)
        if key not in self.images:
            self.made.append(type(plan).__name__)
            self.images[key] = await self.makers[type(plan)](plan, MemoryWork(self, key))
        return self.images[key]


class MemoryWork:
    """See the module."""

    def __init__(self, everything: Everything, key: str) -> None:
        self.key = key
        self._all = everything

    def known(self, plan: Node) -> bool:
        return key_of(plan) in self._all.images

    async def realise(self, plan: Node) -> Image:
        await asyncio.sleep(0)
        if isinstance(plan, RegistryImage) and key_of(plan) not in self._all.images:
            raise ImageNotFound(f"{plan.reference} is not there")
        return await self._all.realise(plan)

    async def manifest(self, reference: Reference) -> tuple[bytes, str]:
        raise NotImplementedError

    async def read(self, content: Content) -> bytes:
        return self._all.file(content).read_bytes()

    async def layer(self, layer: Any) -> Content:
        raise NotImplementedError

    async def keep(self, data: bytes, media_type: str) -> Content:
        content = Content(Descriptor(media_type, Digest.of(data), len(data)), MadeBy(self.key))
        self._all.file(content).write_bytes(data)
        return content

    async def archive(self, location: str, digest: Digest, size: int | None) -> Path:
        path = self._all.archives.get(location)
        if path is None or Digest.of(path.read_bytes()) != digest:
            raise UpstreamBroken(f"{location} is not there")
        return path

    async def path(self, content: Content) -> Path:
        assert self._all.file(content).exists()
        return self._all.file(content)

    @contextlib.asynccontextmanager
    async def scratch(self, size: int) -> AsyncIterator[Path]:
        directory = self._all.directory / f"scratch-{id(object())}-{len(list(self._all.directory.iterdir()))}"
        directory.mkdir()
        try:
            yield directory
            assert sum(path.stat().st_size for path in directory.iterdir()) <= size
        finally:
            directory_trees.remove(directory)

    @contextlib.asynccontextmanager
    async def tree(
        self, key: str, size: Callable[[], Awaitable[int]], fill: Callable[[Path], Awaitable[None]]
    ) -> AsyncIterator[Path]:
        directory = self._all.directory / f"tree-{key}"
        if not directory.exists():
            assert await size() >= 0
            directory.mkdir()
            await fill(directory)
        yield directory

    async def adopt(self, file: Path, descriptor: Descriptor, *, derived: bool = False) -> Content:
        assert Digest.of(file.read_bytes()) == descriptor.digest
        assert file.stat().st_size == descriptor.size
        content = Content(descriptor, MadeBy(self.key))
        file.rename(self._all.file(content))
        if derived:
            self._all.derived.add(descriptor.digest)
        return content

    async def run(self, function: Callable[..., T], *arguments: object) -> T:
        return await asyncio.to_thread(function, *arguments)

    def report(self, line: str) -> None:
        self._all.lines.append(line)
