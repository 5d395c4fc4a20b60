"""The name by which a token is pulled, `<authority>/wt/<token>/<path>:<tag>`: what its plan can be told by in words."""

from __future__ import annotations

from wavelet.errors import InvalidName
from wavelet.plan.node import Node

_TOKEN_LENGTH = 32
_ENGINE_LIMIT = 255
"""Characters of host and repository path together that engines accept (distribution/reference, NameTotalLengthMax)."""


def pull_name(authority: str, token: str, plan: Node) -> str:
    """Return the name under which engines pull what a container request asks for."""
    return f"{authority}/wt/{token}/{plan.label.text}"


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
