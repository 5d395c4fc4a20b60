"""Under which name a token is pulled, `<authority>/wt/<token>/<path>:<tag>`: what can be told of its plan in words."""

from __future__ import annotations

from wavelet.errors import InvalidName
from wavelet.image.digest import Digest
from wavelet.plan.node import Node

_TOKEN_LENGTH = 32
_ENGINE_LIMIT = 255
"""Characters of host and repository path together that engines accept (distribution/reference, NameTotalLengthMax)."""


def path_of(plan: Node) -> str:
    """Return the repository path behind the token."""
    return plan.label.path


def served_as(plan: Node) -> str | Digest:
    """Return the tag, or the `Digest`, under which a token answers."""
    return plan.label.served_as


def pull_name(authority: str, token: str, plan: Node) -> str:
    """Return the name under which engines pull what a container request asks for."""
    return f"{authority}/wt/{token}/{plan.label.text}"


def is_called(path: str, plan: Node) -> bool:
    """Tell whether a token is pulled by this repository path: names that were given stay good."""
    return plan.label.is_path(path)


def tag_of(plan: Node, path: str) -> str | None:
    """Return the tag that a token answers under one of its paths; None where it answers a digest."""
    return plan.label.tag_at(path)


def check_length(authority: str, plan: Node) -> None:
    """Make sure that engines accept the name.

    Raises:
        InvalidName: with the token in front of it the repository's name is too long for them.
    """
    path = plan.label.path
    room = _ENGINE_LIMIT - len(f"{authority}/wt/{'0' * _TOKEN_LENGTH}/")
    if len(path) > room:
        raise InvalidName(
            f"containerImage: the repository path has {len(path)} characters; behind a token, container engines take "
            f"{room} at most, so pull this image by its own name",
            field="containerImage",
        )
