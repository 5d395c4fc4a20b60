"""Container requests as they are known on a node, and what is shown again of them. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from wavelet.image.digest import Digest
from wavelet.plan.node import Node
from wavelet.plan.pinning import Pin
from wavelet.plan.principal import Principal

SOLVED_ANEW = (
    "the packages were solved for anew and are others than before: this is a new name, and the one before goes on "
    "answering what it did"
)
SOLVING_ANEW = (
    "the packages are being solved for anew, so that this is a new name; those before go on answering what they did"
)
"""Notes on a request that was to have its packages solved for anew: it was, or it takes longer than a POST waits."""


def answer_name(token: str) -> str:
    """Return the name under which `ServedImages` keeps what a token has answered."""
    return f"wt/{token}"


class About(msgspec.Struct, frozen=True, kw_only=True):
    """Facts about a request that the node which got it shows again. They take no part in names.

    Attributes:
        notes: what was asked for and has no effect here, or another one than it says.
    """

    api: str
    image: str
    fingerprint: str | None = None
    timestamp: str | None = None
    address: str = ""
    notes: tuple[str, ...] = ()

    def noting(self, note: str) -> About:
        """Return the same with another note."""
        return msgspec.structs.replace(self, notes=(*self.notes, note))


@dataclass(frozen=True, slots=True)
class ContainerRequest:
    """A request as it is known on this node; times in unix seconds.

    Attributes:
        plan: as it was asked.
        pin: what its name answers for good; None: that is not known yet.
    """

    token: str
    plan: Node
    principal: Principal
    created_at: float
    expires_at: float
    about: About | None = None
    source_digest: Digest | None = None
    made_digest: Digest | None = None
    pin: Pin | None = None

    @property
    def fixed(self) -> Node | None:
        """What its name answers, as a plan of which nothing moves."""
        return None if self.pin is None else self.pin.fix(self.plan)

    @property
    def image(self) -> str:
        """What its image is called: the source image in full, or what its packages are called."""
        return self.about.image if self.about else self.plan.description.title

    @property
    def build_id(self) -> str | None:
        """The id of its build in Wave's API, if it needs one: packages do, images of a registry do not."""
        return f"bd-{self.token}_0" if self.plan.description.is_built else None


def notes_of(request: ContainerRequest) -> str:
    """Return the notes on a request as lines of its log."""
    return "".join(f"note: {note}\n" for note in (request.about.notes if request.about else ()))
