"""The node of a plan: what is asked for, as a value; and walks over the tree that a plan is.

A plan is a tree of nodes, and a node may stand on any other that yields an image. Each kind of node has a class of its
own in its room under `kinds/`; nothing here knows one of them by name.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

from wavelet.image.image import IndexEntry
from wavelet.image.reference import Digest, Platform, Reference, Repository
from wavelet.plan.delivery import Delivery

INLINE = "inline:"
"""The location of a layer whose bytes came with the request and lie beside its record."""

PACK = "pack:"
"""What the location of a layer begins with that is of a pack of this node: `pack:<name>@<version>/<file>`."""


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer that a request adds.

    Attributes:
        digest: of the compressed blob, `gzipDigest`.
        size: of the compressed blob in bytes, where the request says it.
        diff_id: digest of the tar, `tarDigest`.
        location: where its bytes are (`http(s)://…`, `inline:` or `pack:…`). It takes no part in names.
        architecture: the only one that the layer is for, if there is such (Fusion's launchers).
    """

    digest: Digest
    size: int | None
    diff_id: Digest
    location: str
    architecture: str | None = None


class View(enum.Enum):
    """For what a plan is written.

    NAME: equal requests have equal bytes, so it leaves out what may differ between them, and with what version of
    wavelet an image is made. KEY: all on which the bytes of what is made depend. RECORD: nothing is left out that was
    asked for, so that it can be read back, by every version that knows the form.
    """

    NAME = "name"
    KEY = "key"
    RECORD = "record"


_DIGITS_SHOWN = 12


@dataclass(frozen=True, slots=True)
class Label:
    """See the module.

    Attributes:
        path: of the repository.
        served_as: the tag, or the digest, under which a token answers.
        former: paths that earlier versions gave, each with its tag: names that were given stay good.
    """

    path: str
    served_as: str | Digest
    former: tuple[tuple[str, str], ...] = ()

    @property
    def text(self) -> str:
        """Path and tag or digest, as people read them."""
        return f"{self.path}{'@' if isinstance(self.served_as, Digest) else ':'}{self.served_as}"

    @property
    def tag(self) -> str | None:
        """The tag; None where a digest is answered."""
        return None if isinstance(self.served_as, Digest) else self.served_as

    def is_path(self, path: str) -> bool:
        """Tell whether a token is pulled by this repository path."""
        return path == self.path or path in dict(self.former)

    def tag_at(self, path: str) -> str | None:
        """Return the tag that a token answers under one of its paths; None where it answers a digest."""
        return self.tag if path == self.path else dict(self.former).get(path, self.tag)

    def of_changed(self) -> Label:
        """Return the label of the image with other bytes.

        It cannot be asked for by the digest of its source, since engines compare that with what they get, so the digest
        goes into a tag: `sha256-<first 12 digits>`.
        """
        return replace(self, served_as=tag_of_digest(self.served_as)) if isinstance(self.served_as, Digest) else self


def tag_of_digest(digest: Digest) -> str:
    """Return the tag of an image that was made of the one with `digest`."""
    return f"{digest.algorithm}-{digest.hex[:_DIGITS_SHOWN]}"


@dataclass(frozen=True, slots=True)
class ContainerConfig:
    """What an augmentation sets; empty members leave the image's own. `labels` are name and value each."""

    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    working_dir: str = ""
    layers: tuple[Layer, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()

    def __bool__(self) -> bool:
        """Tell whether it changes anything: all members null or empty counts as no configuration at all."""
        return self != _NOTHING


_NOTHING = ContainerConfig()


@dataclass(frozen=True, slots=True)
class AskedPackages:
    """Packages that are asked for.

    Attributes:
        channels: names or URLs without logins, the first one having priority.
        entries: match specs, or the URL of a lock file; empty where these do not say all.
        environment: all of it as an environment file shows it.
        base: the image under the packages.
        as_of: only packages uploaded before this time, RFC 3339 in UTC; empty: no such time.
        named: names and versions of what an image of them is called after; None: no version is asked for.
    """

    channels: tuple[str, ...]
    entries: tuple[str, ...]
    environment: str
    base: str
    as_of: str = ""
    named: tuple[tuple[str, str | None], ...] = ()


@dataclass(frozen=True, slots=True)
class Description:
    """See the module.

    Attributes:
        title: what people call it: an image's reference, or path and tag of its label.
        image: the reference of an image of a registry, as it was asked for; empty: there is none such.
        packages: what is asked for instead.
        config: what is set in the image.
        includes: references of images whose layers are put on top.
        platforms: for which it is asked; none: whatever there is.
        is_built: whether something is built for it; else it is there already, but for what is put on top.
    """

    title: str = ""
    image: str = ""
    packages: AskedPackages | None = None
    config: ContainerConfig | None = None
    includes: tuple[str, ...] = ()
    platforms: tuple[Platform, ...] = ()
    is_built: bool = True


class Additions(enum.Enum):
    """Where what is added to a node's image goes.

    ON_TOP: on that image. BELOW: on its children's, of which it only says where they go, in what form, for whom.
    NOWHERE: its image is somebody else's, byte for byte.
    """

    ON_TOP = "on top"
    BELOW = "below"
    NOWHERE = "nowhere"


class Node:
    """The base of all nodes; each is a frozen dataclass, whose fields tell it from others.

    Attributes:
        tag: the member that marks it in the canonical form; no other kind has a member of this name.
        version: of what makes it: part of its key, and of names by its pin; left out of both while it is 1. Whoever
            changes a byte of what older versions have made counts it up.
        maker: what pins say of what makes it, where that is more than the version; empty: nothing.
        is_composite: whether it is pinned by its children being pinned, and by nothing else.
        additions: see `Additions`.
        has_packages: whether it is packages on the image of its child.
    """

    __slots__ = ()

    tag: ClassVar[str]
    version: ClassVar[int] = 1
    maker: ClassVar[str] = ""
    is_composite: ClassVar[bool] = False
    additions: ClassVar[Additions] = Additions.ON_TOP
    has_packages: ClassVar[bool] = False

    @property
    def children(self) -> tuple[Node, ...]:
        """What it is put together of; they are pinned with it."""
        return ()

    def with_children(self, children: Sequence[Node]) -> Node:
        """Return it with others in place of its `children`, as many of them."""
        return self

    @property
    def inputs(self) -> tuple[Layer, ...]:
        """The layers that a request adds by it; not those that its children add."""
        return ()

    def with_inputs(self, inputs: Sequence[Layer]) -> Node:
        """Return it with other layers in place of its `inputs`: what is below it, where that leaves nothing of it."""
        return self

    def for_platform(self, platform: Platform | None) -> Node:
        """Return it for one platform of several, or for what there is; where it is for one alone, it stays as it is."""
        return self

    def entry(self, entry: IndexEntry) -> Node:
        """Return the node of an entry of the index that its image is."""
        return self.for_platform(entry.platform)

    @property
    def moves(self) -> bool:
        """Whether it may become something else with time: it is not pinned."""
        return False

    @property
    def named(self) -> Reference | None:
        """The reference of an image of a registry, where it is one."""
        return None

    def renamed(self, reference: Reference) -> Node:
        """Return it with another reference, where it has one."""
        return self

    @property
    def repository(self) -> Repository | None:
        """The repository of a registry that has to answer for it."""
        return None

    @property
    def configuration(self) -> ContainerConfig | None:
        """What it sets in the image below; None: it is no augmentation."""
        return None

    def reconfigured(self, configuration: ContainerConfig, rules: tuple[str, ...]) -> Node:
        """Return it with another configuration, where it has one, which further rules of the site have made."""
        return self

    @property
    def digest(self) -> Digest | None:
        """The digest of what it stands for, where it says one."""
        return None

    @property
    def lock_digest(self) -> Digest | None:
        """The digest of the document that names exactly what its image is made of, and is attached to that image."""
        return None

    @property
    def delivery(self) -> Delivery | None:
        """Where its image goes once it can be made; None: nowhere, it is pulled by its token."""
        return None

    def delivered_to(self, repository: Repository) -> Node:
        """Return it with the site's repository for frozen images, where it is to be frozen and names none itself."""
        return self

    @property
    def is_file(self) -> bool:
        """Whether its image is one file, in a manifest as ORAS has it, and none of layers."""
        return False

    def compressed_by(self, codec: str) -> Node:
        """Return it with the site's codec, where it is a file whose content is compressed."""
        return self

    @property
    def label(self) -> Label:
        """What its image is called."""
        raise NotImplementedError(f"{self.tag}: no name stands for it")

    @property
    def description(self) -> Description:
        """What is asked for by it, as those see it who ask."""
        return Description()

    def write(self, view: View) -> dict[str, Any]:
        """Return it as JSON, under `tag` and other members; children as `written` has them."""
        raise NotImplementedError

    @classmethod
    def read(cls, value: Mapping[str, Any], read: Callable[[Any], Node]) -> Self:
        """Read what `write` returned for a record; `read` is for its children.

        Raises:
            KeyError, TypeError, ValueError, AttributeError, InvalidName: it is something else.
        """
        raise NotImplementedError


def title(plan: Node) -> str:
    """Return what people call a plan's image; where its kind describes nothing, what its label says."""
    return plan.description.title or plan.label.text


def written(node: Node, view: View) -> dict[str, Any]:
    """Return a node as JSON, with the version of what makes it where that takes part."""
    version = {"maker": node.version} if view is View.KEY and node.version > 1 else {}
    return node.write(view) | version


def walk(plan: Node) -> Iterator[Node]:
    """Yield every node, each before its children."""
    yield plan
    for child in plan.children:
        yield from walk(child)


def parts(plan: Node) -> Iterator[Node]:
    """Yield every node that is pinned by itself and not by its children: what a pin says of the plan."""
    if plan.is_composite:
        for child in plan.children:
            yield from parts(child)
    else:
        yield plan


def leaves(plan: Node) -> Iterator[Node]:
    """Yield every node that stands on no other."""
    return (node for node in walk(plan) if not node.children)


def file_of(plan: Node) -> Node | None:
    """Return the node of the file that a plan is, or delivers; None: it is an image of layers."""
    if not plan.is_file:
        return None
    below = next(map(file_of, plan.children), None)
    return plan if below is None else below


def source(plan: Node) -> Node:
    """Return the node at the bottom: that of which the image is called."""
    return next(leaves(plan))


def source_digest(plan: Node) -> Digest | None:
    """Return the digest of the image at the bottom, where the plan says one."""
    return source(plan).digest


def repositories(plan: Node) -> Iterator[Repository]:
    """Yield every repository that an upstream registry has to answer for."""
    for node in walk(plan):
        if node.repository is not None:
            yield node.repository


def layers(plan: Node) -> Iterator[Layer]:
    """Yield every layer that the request itself names."""
    for node in walk(plan):
        yield from node.inputs


def moves(plan: Node) -> bool:
    """Tell whether anything in the plan may become something else with time."""
    return any(node.moves for node in walk(plan))


def map_parts(plan: Node, change: Callable[[Node], Node]) -> Node:
    """Return the plan with each of its `parts` replaced by what `change` makes of it."""
    if not plan.is_composite:
        return change(plan)
    return plan.with_children([map_parts(child, change) for child in plan.children]) if plan.children else plan


def map_layers(plan: Node, change: Callable[[Layer], Layer | None]) -> Node:
    """Return the plan with each layer that the request names replaced, or left out for None."""
    if plan.children:
        plan = plan.with_children([map_layers(child, change) for child in plan.children])
    changed = [change(layer) for layer in plan.inputs]
    return plan.with_inputs([layer for layer in changed if layer is not None]) if changed else plan


def without_unkept(plan: Node) -> Node:
    """Return the plan without layers whose bytes are in the request only: nobody can read these yet."""
    return map_layers(plan, lambda layer: None if layer.location == INLINE else layer)
