"""The names that mirrored images get: the target, and below it the path and the tag that an image has. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from wavelet.errors import InvalidRequest, WaveletError
from wavelet.front.reading.delivery import form_fault
from wavelet.front.registry.names import TOKEN_PREFIX
from wavelet.image.reference import Reference, looks_like_host
from wavelet.plan.delivery import FROZEN
from wavelet.plan.node import Node
from wavelet.plan.tokens import names_same

FIELD = "target"

Named = tuple[Node, str]
"""A plan, and how engines call its image, without an authority."""


def check(target: str, authority: str) -> None:
    """Return if a target can be one; `authority` is that of this daemon's own registry.

    Raises:
        InvalidRequest: it cannot.
    """
    fault = form_fault(target) if target else "is missing; it is the registry to copy to, or that and a path there"
    if not fault and names_same(target.partition("/")[0], authority):
        fault = (
            f"{authority} is wavelet's own registry, to which a wavelet pushes nothing; name another one, or pull the "
            f"image, tag it as {authority}/local/NAME and push it with an engine"
        )
    if fault:
        raise InvalidRequest(f"{FIELD}: {fault}", field=FIELD)


def targets_of(target: str, images: Mapping[int, Named]) -> tuple[dict[int, Reference], dict[int, WaveletError]]:
    """Return what images are called at a target, by their places in a request, and why some cannot be there."""
    targets: dict[int, Reference] = {}
    errors: dict[int, WaveletError] = {}
    taken: dict[Reference, tuple[Node, int]] = {}
    for index, (plan, name) in images.items():
        try:
            reference = _target_of(target, plan, name)
            other, place = taken.setdefault(reference, (plan, index))
            if other != plan:
                raise InvalidRequest(
                    f"{FIELD}: images[{place}], {images[place][1]}, becomes {reference} too; copy one of them to "
                    "another path",
                    field=FIELD,
                )
            targets[index] = reference
        except WaveletError as error:
            errors[index] = error
    return targets, errors


def _target_of(target: str, plan: Node, name: str) -> Reference:
    """Return what an image is called at a target.

    Raises:
        InvalidName: that breaks the grammar.
        InvalidRequest: it is there already.
    """
    reference = Reference.parse(f"{target.rstrip('/')}/{_below(name)}", FIELD)
    if reference.repository == plan.repository:
        message = f"{FIELD}: {reference.repository} is where the image is; name another registry, or another path"
        raise InvalidRequest(message, field=FIELD)
    return reference


def _below(name: str) -> str:
    """Return what of a name stands below a target: no host, and of names of this daemon no `wt/<token>/`, `frozen/`."""
    first, _, rest = name.partition("/")
    if first == TOKEN_PREFIX:
        return rest.partition("/")[2]
    return rest if first == FROZEN or looks_like_host(first) else name
