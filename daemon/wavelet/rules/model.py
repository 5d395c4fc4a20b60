"""The rules of the site as values: when one applies, and what it does. Pure.

There are two kinds, each with its one place. What *rewrites* makes another plan of the one that was asked for, before
anything is pinned: redirect, platform, packs, environment, labels, refuse. What *admits* judges what was pinned.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field
from typing import Literal

from wavelet.image.reference import Digest, Platform
from wavelet.packs.model import PackUse

Door = Literal["wave", "grpc", "registry", "sif", "inspect"]
"""By which door something is asked for: `POST` of Wave's API, gRPC, an engine's pull, a SIF's, Wave's inspect."""

Form = Literal["request", "near-cache", "conda"]
"""In which form of name: a container request (its name is answered), `<registry>/<path>`, or `conda/…`."""

Source = Literal["image", "conda", "containerfile"]
"""What a plan starts from."""


@dataclass(frozen=True, slots=True)
class Asking:
    """Who asks, and how: what a rule can tell of a request beside its images.

    Attributes:
        uid: the user; None: nobody in particular, e.g. a container engine that pulls for others.
        gids: the groups of that user.
        labels: what the request carries (`labels` of gRPC and of the POST).
        has_platform: whether a platform is asked for; else the usual one stands in the plan, or none.
        is_container_file: whether the packages were given as a container file.
        own: the hosts by which references name this node, for images that were pushed to it.
    """

    door: Door
    form: Form
    uid: int | None = None
    gids: frozenset[int] = frozenset()
    labels: Mapping[str, str] = field(default_factory=dict)
    is_container_file: bool = False
    has_platform: bool = True
    own: Container[str] = frozenset()

    @property
    def is_named(self) -> bool:
        """Whether the image is answered under its own name, and not under one that a request gets."""
        return self.form != "request"


@dataclass(frozen=True, slots=True)
class Pattern:
    """A glob as it was written, and what tells whether a text is of it: `*` within a path's component, `**` across."""

    text: str
    matches: Callable[[str], bool] = field(compare=False)


@dataclass(frozen=True, slots=True)
class ImagePattern:
    """A glob over an image: `docker.io/library/*:latest`, `quay.io/**`, `biocontainers/*`, `**@sha256:…`.

    Attributes:
        text: as it was written.
        repository: over `<registry>/<path>`, in full (`docker.io/library/busybox`).
        tag: over the tag; None: any, and also none.
        digest: over the digest; None: any, and also none.
    """

    text: str
    repository: Pattern
    tag: Pattern | None = None
    digest: Pattern | None = None

    def matches(self, repository: str, tag: str | None, digest: str | None) -> bool:
        """Tell whether an image is of it: its repository in full, and its tag and digest where they are known."""
        return (
            self.repository.matches(repository)
            and (self.tag is None or (tag is not None and self.tag.matches(tag)))
            and (self.digest is None or (digest is not None and self.digest.matches(digest)))
        )


@dataclass(frozen=True, slots=True)
class When:
    """What has to be so for a rule to apply: all members that are given; of a member's values, one of them.

    Attributes:
        images: the image that a plan starts from; of packages, the image under them.
        but_not: images that are excepted.
        sources: what the plan starts from.
        platforms: for which it is asked; where a plan names none, none matches.
        doors, forms: see `Door`, `Form`.
        uids, gids: who asks; a group of theirs.
        labels: names, and globs over their values.
    """

    images: tuple[ImagePattern, ...] = ()
    but_not: tuple[ImagePattern, ...] = ()
    sources: frozenset[Source] = frozenset()
    platforms: frozenset[Platform] = frozenset()
    doors: frozenset[Door] = frozenset()
    forms: frozenset[Form] = frozenset()
    uids: frozenset[int] = frozenset()
    gids: frozenset[int] = frozenset()
    labels: tuple[tuple[str, Pattern], ...] = ()


@dataclass(frozen=True, slots=True)
class Redirect:
    """Another place for an image: the part of `<registry>/<path>` that is replaced, and by what.

    Attributes:
        prefix: what is taken away, in full (`docker.io`, `docker.io/biocontainers`), without a slash at its end.
        to: what is put there instead, a registry and perhaps a path (`quay.io/biocontainers`), without one either.
    """

    prefix: str
    to: str


@dataclass(frozen=True, slots=True)
class Do:
    """What a rule does, in this order; empty members do nothing.

    Attributes:
        refuse: the site's sentence, for who asks.
        redirect: where the image is taken from instead.
        set_platform: chosen where the request names none, or one of those that the rule is for (`When.platforms`).
        require_platforms: one of these has to be asked for.
        packs, env, labels: what is added to the image; `env` as `NAME=VALUE`.
        require_digest: it has to be asked for by digest; `digests`: what it is pinned to has to be one of these. Both
            are judged when it is pinned.
    """

    refuse: str = ""
    redirect: Redirect | None = None
    set_platform: Platform | None = None
    require_platforms: tuple[Platform, ...] = ()
    packs: tuple[PackUse, ...] = ()
    env: tuple[str, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    require_digest: bool = False
    digests: frozenset[Digest] = frozenset()

    @property
    def adds(self) -> bool:
        """Whether it changes what is in the image."""
        return bool(self.packs or self.env or self.labels)

    @property
    def admits(self) -> bool:
        """Whether it judges what was pinned."""
        return self.require_digest or bool(self.digests)


Scope = Literal["each", "whole"]
"""What packs, environment and labels are added to: each image that a plan starts from, or once to the whole."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule.

    Attributes:
        name: of the site's choice, else `<file>#<number>`; it stands in answers and in annotations.
        place: `<file>: rule <number>`, for messages.
        scope: see `Scope`; the rest of what a rule does is always for each image.
        changes_names: whether what it adds is also in images that engines pull by the near-cache's and packages' own
            names by tag (`names: changed`). Redirects and refusals hold there without it.
    """

    name: str
    place: str
    when: When
    do: Do
    scope: Scope = "whole"
    changes_names: bool = False


@dataclass(frozen=True, slots=True)
class RuleSet:
    """The rules in force.

    Attributes:
        rules: in the order in which they are applied.
        directory: that they are read from.
        read_at: when they were read, in unix seconds.
        problems: why what is in the directory now is not in force: a sentence for each file at fault.
        is_closed: whether there were never any that could be read: then nothing is admitted, for nobody knows what the
            site refuses.
    """

    rules: tuple[Rule, ...] = ()
    directory: str = ""
    read_at: float = 0.0
    problems: tuple[str, ...] = ()
    is_closed: bool = False
