"""What a container request asks for, once it is read."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from wavelet.errors import InvalidRequest, TooLarge
from wavelet.image.reference import Digest
from wavelet.plan.node import Node
from wavelet.plan.tokens import Identity
from wavelet.rules.model import Asking, Door, Form

LABELS_LIMIT = 64
"""Labels that a request can carry."""

LABEL_LIMIT = 512
"""Characters of a label, its name and its value together."""


@dataclass(frozen=True, slots=True)
class Submission:
    """What a request asks for.

    Attributes:
        plan: the image.
        image: the source image, normalised, as it was asked for; of packages, what the plan is called.
        inline: the bytes of the plan's inline layers.
        dry_run: whether only the name is wanted.
        is_pulled_at_once: whether it is pulled elsewhere as soon as it is named, before anybody asks for its status:
            Singularity and Apptainer do that.
        notes: what is asked for and has no effect here, or another one than it says.
        labels, packs: as `ContainerValues` has them.
        is_container_file: whether its packages were given as a container file.
        has_platform: whether it says a platform.
    """

    plan: Node
    image: str
    inline: Mapping[Digest, bytes]
    dry_run: bool
    notes: tuple[str, ...] = ()
    is_pulled_at_once: bool = False
    labels: Mapping[str, str] = dataclasses.field(default_factory=dict)
    packs: tuple[str, ...] = ()
    is_container_file: bool = False
    has_platform: bool = True

    def asking(self, door: Door, identity: Identity, form: Form = "request") -> Asking:
        """Return who asks, and how, as rules of the site see it."""
        return Asking(
            door,
            form,
            identity.uid,
            labels=self.labels,
            is_container_file=self.is_container_file,
            has_platform=self.has_platform,
        )


def check_labels(labels: Mapping[str, str]) -> None:
    """Return if a request may carry these labels.

    Raises:
        TooLarge: there are too many.
        InvalidRequest: one has no name, or is too long.
    """
    if len(labels) > LABELS_LIMIT:
        raise TooLarge(f"labels: {len(labels)} of them; {LABELS_LIMIT} are accepted", field="labels")
    for name, value in labels.items():
        if not name or len(name) + len(value) > LABEL_LIMIT:
            message = f"labels: {name[:80]!r} is empty, or longer with its value than {LABEL_LIMIT} characters"
            raise InvalidRequest(message, field="labels")
