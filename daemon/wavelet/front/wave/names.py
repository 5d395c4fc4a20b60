"""The name under which engines pull what a container request asks for, `<authority>/wt/<token>/<path>:<tag>`. Pure."""

from __future__ import annotations

from wavelet.errors import InvalidName
from wavelet.image.digest import Digest
from wavelet.plan.names import served_as, source_of
from wavelet.plan.plan import Plan

_TOKEN_LENGTH = 32
_ENGINE_LIMIT = 255
"""Characters of host and repository path together that engines accept (distribution/reference, NameTotalLengthMax)."""


def target_image(authority: str, token: str, plan: Plan) -> str:
    """Return the name that the request is answered with."""
    reference = served_as(plan)
    mark = "@" if isinstance(reference, Digest) else ":"
    return f"{authority}/wt/{token}/{source_of(plan).repository.path}{mark}{reference}"


def check_length(authority: str, plan: Plan) -> None:
    """Make sure that engines accept the name.

    Raises:
        InvalidName: with the token in front of it the repository's name is too long for them.
    """
    path = source_of(plan).repository.path
    room = _ENGINE_LIMIT - len(f"{authority}/wt/{'0' * _TOKEN_LENGTH}/")
    if len(path) > room:
        raise InvalidName(
            f"containerImage: the repository path has {len(path)} characters; behind a token, container engines take "
            f"{room} at most, so pull this image by its own name",
            field="containerImage",
        )
