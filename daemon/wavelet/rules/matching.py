"""Which images a rule is for: the images that a plan starts from, and the conditions on them and on who asks. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from wavelet.errors import InvalidName
from wavelet.image.reference import DOCKER_HUB, Platform, Reference, Repository, normalise, valid_path
from wavelet.plan.hosted import FIRST, HOST, path_of, shown
from wavelet.plan.node import Additions, Node, title
from wavelet.rules.model import Asking, ImagePattern, Redirect, Source, When
from wavelet.rules.patterns import full_name

_FOR_HOSTED = (f"{DOCKER_HUB}/{FIRST}/", "*")
"""How patterns begin that images of this node can be of: `local/…` as it is read, and those of any registry."""

Path = tuple[int, ...]
"""Where a node is in a plan: the numbers of the children on the way to it."""


def concerns(when: When, asking: Asking) -> bool:
    """Tell whether a rule is for who asks, and how, whatever the image is."""
    return (
        (not when.doors or asking.door in when.doors)
        and (not when.forms or asking.form in when.forms)
        and (not when.uids or asking.uid in when.uids)
        and (not when.gids or not when.gids.isdisjoint(asking.gids))
        and all(name in asking.labels and glob.matches(asking.labels[name]) for name, glob in when.labels)
    )


@dataclass(frozen=True, slots=True)
class Start:
    """An image that a plan starts from.

    Attributes:
        path: where it is in the plan.
        node: as it is there.
        reference: its own; None: it has none.
        source: see `Source`.
        platform: for which it is asked; None: none is named.
        reference: its own; None: it has none.
        repository: that of the reference as globs are compared with it; empty: it has none.
        is_copied: whether it is copied as it is, so that nothing can be added to it.
    """

    path: Path
    node: Node
    source: Source
    platform: Platform | None
    reference: Reference | None
    repository: str
    is_copied: bool = False

    @property
    def is_by_digest(self) -> bool:
        """Whether it is asked for by digest: then nobody changes it."""
        return self.source == "image" and self.node.digest is not None

    @property
    def name(self) -> str:
        """What it is called in messages."""
        return title(self.node) if self.reference is None else shown(self.reference)


def starts(
    plan: Node, asking: Asking, source: Source = "image", path: Path = (), *, is_copied: bool = False
) -> Iterator[Start]:
    """Yield the images that a plan starts from; of packages, the image under them."""
    if plan.has_packages:
        source = "containerfile" if asking.is_container_file else "conda"
    if not plan.children:
        reference = plan.named
        platform = next(iter(plan.description.platforms), None)
        repository = "" if reference is None else _as_matched(reference.repository, asking)
        yield Start(path, plan, source, platform, reference, repository, is_copied)
    for number, child in enumerate(plan.children):
        is_below = is_copied or plan.additions is Additions.NOWHERE
        yield from starts(child, asking, source, (*path, number), is_copied=is_below)


def matches(when: When, start: Start) -> bool:
    """Tell whether a rule is for an image, whoever asks."""
    if when.sources and start.source not in when.sources:
        return False
    if when.platforms and not any(
        start.platform is not None and is_platform(start.platform, each) for each in when.platforms
    ):
        return False
    if not when.images and not when.but_not:
        return True
    if start.reference is None:
        return not when.images
    return (not when.images or _is_of(when.images, start)) and not _is_of(when.but_not, start)


def _is_of(patterns: Sequence[ImagePattern], start: Start) -> bool:
    """Tell whether an image is of one of some patterns; one of this node is of none that is for a registry."""
    reference = start.reference
    assert reference is not None, "who calls has looked"
    digest = None if reference.digest is None else str(reference.digest)
    is_hosted = start.repository != full_name(str(reference.repository))
    return any(
        each.matches(start.repository, reference.tag, digest)
        for each in patterns
        if not is_hosted or each.repository.text.startswith(_FOR_HOSTED)
    )


def _as_matched(repository: Repository, asking: Asking) -> str:
    """Return a repository as patterns see it; one of this node as `local/<path>` is read, which names no registry."""
    is_hosted = repository.host == HOST or (repository.path.startswith(f"{FIRST}/") and repository.host in asking.own)
    return full_name(f"{DOCKER_HUB}/{FIRST}/{path_of(repository)}" if is_hosted else str(repository))


def redirected(reference: Reference, redirect: Redirect) -> Reference:
    """Return an image at its other place; as it is if it does not lie below what is redirected.

    Raises:
        InvalidName: what comes of it is no name of a repository.
    """
    repository = f"{full_name(str(reference.repository))}/"
    if reference.repository.host == HOST or not repository.startswith(f"{redirect.prefix}/"):
        return reference
    host, _, path = f"{redirect.to}/{repository.removeprefix(f'{redirect.prefix}/')}".partition("/")
    elsewhere = Repository(*normalise(host, path.removesuffix("/")))
    if not valid_path(elsewhere.path):
        raise InvalidName(f"{elsewhere} is no name of a repository, or too long")
    return replace(reference, repository=elsewhere)


def is_platform(platform: Platform, asked: Platform) -> bool:
    """Tell whether a platform is one that a rule names; without a variant it names all of them."""
    return platform == asked or (not asked.variant and replace(platform, variant="") == asked)
