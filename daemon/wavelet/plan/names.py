"""What stands behind a token in a name: the path of the plan's first image, and a tag or a digest."""

from __future__ import annotations

from wavelet.image.digest import Digest
from wavelet.image.reference import Reference
from wavelet.plan.plan import FromRegistry, Plan, sources


def source_of(plan: Plan) -> Reference:
    """Return the image that the plan starts from."""
    return next(sources(plan)).reference


def served_as(plan: Plan) -> str | Digest:
    """Return the tag, or the `Digest`, under which a token answers.

    An unchanged image keeps its digest. One whose bytes change cannot be asked for by the digest of its source, since
    engines compare that with what they get, so the digest goes into a tag: `sha256-<first 12 digits>`.
    """
    reference = source_of(plan)
    if reference.digest is None:
        return reference.tag or "latest"
    if isinstance(plan, FromRegistry) and plan.platform is None:
        return reference.digest
    return f"{reference.digest.algorithm}-{reference.digest.hex[:12]}"
