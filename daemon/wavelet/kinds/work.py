"""The seam between the makers and whoever runs them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol, TypeVar

from wavelet.errors import UpstreamBroken
from wavelet.image.augment import AddedLayer
from wavelet.image.digest import Digest
from wavelet.image.image import Content, FromUpstream, Image
from wavelet.image.manifest import Descriptor, Index, MalformedManifest, Manifest, parse_document
from wavelet.image.reference import Reference, Repository
from wavelet.plan.layers import Layer
from wavelet.plan.node import Node

T = TypeVar("T")


class Work(Protocol):
    """What a maker may do.

    Attributes:
        key: the memo key of the plan that is being made.
    """

    key: str

    async def realise(self, plan: Node) -> Image:
        """Return the image of another pinned plan, made or remembered."""

    def known(self, plan: Node) -> bool:
        """Tell whether a pinned plan was made before, so that `realise` only has to remember."""

    async def manifest(self, reference: Reference) -> tuple[bytes, str]:
        """Return a manifest by digest, and the media type that it was answered with (empty if unknown)."""

    async def read(self, content: Content) -> bytes:
        """Return small content whole: a manifest or a configuration."""

    async def layer(self, layer: Layer) -> Content:
        """Return a layer that the request names, fetched from its location and verified in all that was said of it."""

    async def keep(self, data: bytes, media_type: str) -> Content:
        """Keep a document that this maker has written."""

    async def archive(self, location: str, digest: Digest, size: int | None) -> Path:
        """Return the file of a package, wheel or other source that everybody may have, fetched and verified.

        It stays where it is for as long as this making goes on.

        Raises:
            UpstreamError: it cannot be had, or is not what its digest and size say.
        """

    async def path(self, content: Content) -> Path:
        """Return the file of a member of a closure, fetched or made if need be; it stays while this making goes on."""

    def scratch(self, size: int) -> AbstractAsyncContextManager[Path]:
        """Give an empty directory of its own on the store's file system, with `size` bytes set aside.

        It is removed at the end, with all that was not adopted.

        Raises:
            NoSpace: there is no room for that.
        """

    def tree(
        self, key: str, size: Callable[[], Awaitable[int]], fill: Callable[[Path], Awaitable[None]]
    ) -> AbstractAsyncContextManager[Path]:
        """Give the directory with a key, kept from an earlier making or filled now; nobody may change it.

        `size` says how many bytes it may have, where it has to be filled.

        Raises:
            NoSpace: there is no room for it.
        """

    async def adopt(self, file: Path, descriptor: Descriptor, *, derived: bool = False) -> Content:
        """Take a file out of the scratch directory into the store, hashed by whoever wrote it.

        `derived` content can be put together again from other content of the store, and is evicted before it.
        """

    async def run(self, function: Callable[..., T], *arguments: object) -> T:
        """Run a function of a module in a worker process; its arguments and its result are pickled.

        Raises:
            WaveletError: what the function raised.
            Internal: the worker died twice over it.
        """

    async def download(self, urls: Sequence[str], md5: str) -> Path:
        """Return a file that everybody may have, from the first of `urls` that has it, verified by its MD5 (in hex).

        Raises:
            DigestMismatch, NotFound, UpstreamError: it cannot be had.
        """

    async def pullable(self, plan: Node) -> str:
        """Return a name under which container engines on this node pull the image of `plan`."""

    def report(self, line: str) -> None:
        """Add a line to the log of this making, which its users can read as it goes."""


async def read_document(work: Work, content: Content) -> tuple[bytes, Manifest | Index]:
    """Return a manifest or index of a closure, as bytes and as view.

    Raises:
        UpstreamBroken: it is neither.
    """
    data = await work.read(content)
    try:
        return data, parse_document(data, content.descriptor.media_type)
    except MalformedManifest as error:
        raise UpstreamBroken(f"{content.descriptor.digest}: {error}") from None


def from_upstream(repository: Repository, descriptors: tuple[Descriptor, ...]) -> list[Content]:
    """Return contents that have `repository` as their source."""
    return [Content(descriptor, FromUpstream(repository)) for descriptor in descriptors]


def added(layer: Layer, content: Content) -> AddedLayer:
    """Return a verified layer as augmentation takes it."""
    return AddedLayer(layer.digest, content.descriptor.size, layer.diff_id, "gzip", layer.architecture)
