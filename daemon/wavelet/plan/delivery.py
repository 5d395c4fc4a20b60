"""The delivery of an image: where it goes once it can be made, and what it is called there. Pure.

A frozen image has a name that lasts. Its tag ends in the token of its request, so that the name answers for good what
the token does, and nobody can make up a name that another request will have. Before that stands what people read, in
the shapes that Wave's name strategies give: `samtools:1.17--<token>` (`imageSuffix`), `samtools-1.17--<token>` as the
tag (`tagPrefix`), the token alone (`none`). A mirrored image keeps its own name and digest at another registry.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from wavelet.image.reference import Digest, Reference, Repository

FROZEN = "frozen"
"""The first component of the names of frozen images in the node's own registry."""

BUILD = "build"
"""What an image is called in the node's own registry by a strategy that names none."""

Strategy = Literal["", "none", "tagPrefix", "imageSuffix"]
"""Wave's `nameStrategy`; without one it is `imageSuffix` in the node's own registry, and else `tagPrefix`."""

NAMES_SHOWN = 4
"""Packages that a name shows where there are more than `NAMES_MOST`; then `pruned` follows, as in Wave."""

NAMES_MOST = 5

READABLE_LIMIT = 80
"""Characters of what people read: of a tag before the token, which has 128 at the most (distribution-spec, "Pulling
manifests"), and of a path of several packages, which has to leave room for the registry and the repository."""

TOKEN_MARK = "--"  # noqa: S105 - what stands before a token

Named = Sequence[tuple[str, str | None]]
"""Names and versions, of packages or of one image; None: no version is said."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """Where an image goes.

    Attributes:
        mode: `freeze`: its name lasts; `mirror`: it is copied as it is.
        repository: of a registry; None: the node's own registry, and nothing is pushed.
        path: of the repository in the node's own registry, behind `frozen/`.
        served_as: the tag or digest; of a frozen image what stands in the tag before the token, which may be nothing.
        cache: a repository for layers of packages, which are looked for there before they are made.
        asked: the repository, or registry, as it was asked for: `path` may be put behind it; empty: none.
        strategy: how it was asked to be named.
    """

    mode: Literal["freeze", "mirror"]
    repository: Repository | None
    path: str
    served_as: str | Digest
    cache: Repository | None = None
    asked: str = ""
    strategy: Strategy = ""

    @property
    def is_own(self) -> bool:
        """Whether it is a name of a frozen image in the node's own registry."""
        return self.mode == "freeze" and self.repository is None

    def tag(self, token: str) -> str:
        """Return the tag of a frozen image."""
        return f"{self.served_as}{TOKEN_MARK}{token}" if self.served_as else token

    def target(self, token: str) -> Reference | None:
        """Return where the image is pushed to; None where it is not."""
        if self.repository is None:
            return None
        if self.mode == "freeze":
            return Reference(self.repository, self.tag(token))
        if isinstance(self.served_as, Digest):
            return Reference(self.repository, digest=self.served_as)
        return Reference(self.repository, self.served_as)

    def name(self, authority: str, token: str) -> str:
        """Return the name under which engines pull it; `authority` is that of the node's own registry."""
        target = self.target(token)
        return str(target) if target is not None else f"{authority}/{self.own_name(token)}"

    def own_name(self, token: str) -> str:
        """Return the name of a frozen image in the node's own registry, without the authority."""
        return f"{FROZEN}/{self.path}:{self.tag(token)}"


def frozen(
    named: Named, own_path: str, repository: Repository | None, strategy: Strategy, cache: Repository | None = None
) -> Delivery:
    """Return the delivery of a frozen image.

    Args:
        named: what it is called after.
        own_path: its path by the strategy `imageSuffix`, where it is one image of a registry; empty: after `named`.
        repository: where to; None: the node's own registry.
        strategy: how it is named.
        cache: see `Delivery`.
    """
    chosen = strategy or ("imageSuffix" if repository is None else "tagPrefix")
    if chosen == "imageSuffix":
        path, tag = own_path or _component("_".join(_shown([name for name, _ in named]))), _common_version(named)
    else:
        path = "" if repository is not None else BUILD
        tag = "" if chosen == "none" else _readable("_".join(_shown([_with_version(*each) for each in named])))
    asked = "" if repository is None else str(repository)
    if repository is not None and path:
        repository = Repository(repository.host, f"{repository.path}/{path}")
    return Delivery("freeze", repository, path, tag, cache, asked, strategy)


def token_of(tag: str) -> str:
    """Return what stands in a tag where a frozen image's token does."""
    return tag.rpartition(TOKEN_MARK)[2]


def _shown(names: list[str]) -> list[str]:
    return names if len(names) <= NAMES_MOST else [*names[:NAMES_SHOWN], "pruned"]


def _with_version(name: str, version: str | None) -> str:
    return name if version is None else f"{name}-{version}"


def _common_version(named: Named) -> str:
    """Return the version that all have that say one, if it is the same."""
    versions = {version for _, version in named if version is not None}
    return _readable(versions.pop()) if len(versions) == 1 else ""


def _readable(text: str) -> str:
    """Return a text as it may stand in a tag: what does not fit is cut between names, as Wave does."""
    return _cut(re.sub(r"[^A-Za-z0-9_.-]", "", text).strip("._-")).strip("._-")


def _cut(text: str) -> str:
    if len(text) <= READABLE_LIMIT:
        return text
    return text[:READABLE_LIMIT].rpartition("_")[0] or text[:READABLE_LIMIT]


def _component(text: str) -> str:
    """Return a text as a component of a repository's path (distribution-spec, "Pulling manifests")."""
    parts = (re.sub(r"[^a-z0-9]+", "-", part).strip("-") for part in text.lower().split("_"))
    return _cut("_".join(filter(None, parts))).strip("-") or BUILD
