"""The kind of a node: how it is pinned and made, and what may be done for that. The resolver knows none by name."""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable, Hashable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from wavelet.config import Apply, Settings
from wavelet.errors import UpstreamBroken
from wavelet.image.augment import AddedLayer
from wavelet.image.image import (
    Content,
    Descriptor,
    FromUpstream,
    Image,
    Index,
    MalformedManifest,
    Manifest,
    parse_document,
)
from wavelet.image.reference import Digest, Reference, Repository
from wavelet.plan.node import Layer, Node
from wavelet.plan.tokens import Identity

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


N = TypeVar("N", bound=Node)


class Stands(enum.Enum):
    """What is made of one pinned node when it is made twice.

    FUNCTION: the same bytes. FIRST_MADE: perhaps others, so the first ones that any node of the cluster has made stand:
    they are claimed and shared, and the last copy is never evicted.
    """

    FUNCTION = "function"
    FIRST_MADE = "first made"


class Preparation(enum.Enum):
    """How much of a pinned node is made before a request is ready. Nothing: it is made when it is pulled.

    LOOKED_AT: the node itself is made, which takes documents only. BUILT: the whole plan is, for its making may turn
    out not to be possible.
    """

    NOTHING = "nothing"
    LOOKED_AT = "looked at"
    BUILT = "built"


@dataclass(frozen=True, slots=True)
class Pinned:
    """A plan of which nothing moves, and whether everyone may read all of it."""

    plan: Node
    public: bool


class PinWork(Protocol):
    """What a kind may do to pin a node."""

    @property
    def identity(self) -> Identity:
        """Who asks."""

    @property
    def refresh(self) -> bool:
        """Whether nothing that is known already may stand in."""

    @property
    def report(self) -> Callable[[str], None]:
        """Takes a line of the log of this pinning, which its users can read as it goes."""

    async def realise(self, plan: Node) -> Image:
        """Return the image of a pinned plan, made or remembered."""

    async def read(self, content: Content) -> bytes:
        """Return small content whole."""


class Kind(Generic[N]):
    """The kind of one type of nodes. What most kinds have in common is here, so that a kind says only what it does.

    Attributes:
        node: the type.
        stands: see `Stands`.
        preparation: see `Preparation`.
        is_solved: whether pinning one is long work: a job of its own with a log, which requests with the same node have
            in common, and which is done anew for those who ask for a refresh.
        has_log: whether the making of one has a log of its own.
        advice: what those can do of whose request nothing could be made, where it is not to be pinned anew.
        taken, lost: what the log says of what was made first: it is as another node has made it; nobody has it.
    """

    node: type[N]
    stands: ClassVar[Stands] = Stands.FUNCTION
    preparation: ClassVar[Preparation] = Preparation.NOTHING
    is_solved: ClassVar[bool] = False
    has_log: ClassVar[bool] = False
    advice: ClassVar[str] = ""
    taken: ClassVar[str] = "this is as another node has made it"
    lost: ClassVar[str] = "what was made first is nowhere to be had; it was made anew"

    def configure(self, settings: Settings) -> Apply:
        """Prepare to take new settings.

        Raises:
            ConfigError: one of them cannot be taken.
        """
        return lambda: None

    # -- pin ----------------------------------------------------------------------------------------------------------

    def fresh(self, asked: N, fixed: N, identity: Identity) -> Pinned | None:
        """Return the pinned node if that takes no question to anybody; `fixed` is `asked` on pinned children."""
        return Pinned(fixed, public=True)

    async def pin(self, asked: N, fixed: N, work: PinWork) -> Pinned:
        """Pin a node; `fixed` is `asked` on pinned children.

        Raises:
            WaveletError: why it cannot be pinned.
        """
        return Pinned(fixed, public=True)

    def is_doubted(self, asked: N) -> bool:
        """Tell whether what it was pinned to is known to be gone, so that it is to be pinned anew."""
        return False

    def solution(self, node: N) -> Hashable | None:
        """Return what a solved node came to as this node of the cluster knows last, in a form that can be compared."""
        return None

    # -- make ---------------------------------------------------------------------------------------------------------

    async def make(self, node: N, work: Work) -> Image:
        """Return the image of a pinned node: its own document, and all content below that.

        Raises:
            WaveletError: why there is none.
        """
        raise NotImplementedError

    def cached_as(self, node: N) -> str:
        """Return what the log calls a node whose image may be had from a repository that others can read too.

        That is a function of the node, and everybody may have what it is made of. Empty: it is made here alone.
        """
        return ""

    def items(self, node: N) -> Mapping[str, int]:
        """Return what its making is counted in, each item with its size in bytes (0 if unknown)."""
        return {}

    def item(self, node: N) -> str | None:
        """Return which item of another one's making a node is, if it is one."""
        return None

    async def made(self, node: N) -> None:
        """Take note that the image of a plan with this node was made."""

    async def reconsider(self, node: N, error: UpstreamBroken) -> bool:
        """Tell whether a node of which nothing could be made is to be pinned anew."""
        return False

    def contents(self, document: bytes) -> tuple[str, Sequence[Descriptor]] | None:
        """Return the media type of the own document of what was made first, and what content it speaks of.

        None if this version cannot read it. A kind of which the first one stands has to say this.
        """
        raise NotImplementedError


class Kinds:
    """All kinds of a daemon."""

    def __init__(self, kinds: Iterable[Kind[Any]]) -> None:
        self._kinds = {kind.node: kind for kind in kinds}

    def __getitem__(self, node: type[N]) -> Kind[N]:
        """Return the kind of a type of nodes."""
        return self._kinds[node]

    def of(self, node: N) -> Kind[N]:
        """Return the kind of a node."""
        return self._kinds[type(node)]

    def configure(self, settings: Settings) -> Apply:
        """Prepare to have all of them take new settings; see `Kind.configure`."""
        applies = [kind.configure(settings) for kind in self._kinds.values()]

        def apply() -> None:
            for each in applies:
                each()

        return apply
