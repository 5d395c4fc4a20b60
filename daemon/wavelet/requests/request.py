"""The request, from the door to the answer, and what the settings make of what is asked.

A `Rewrite` is a pure function of what is asked and of the settings, and idempotent: what it has made of a request may
be asked for again. `site_repository.py` is one. The rules that a site writes itself are `wavelet.rules`; both are
applied by `effective_plan.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Self

import msgspec

from wavelet.image.reference import Digest
from wavelet.plan.canonical import Pin
from wavelet.plan.node import INLINE, Layer, Node, map_layers
from wavelet.plan.tokens import Identity, Principal
from wavelet.rules.model import Asking

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


SIF_KEY = "sif/"
"""What stands before the name of an image where `ServedImages` keeps what its `sif/` name has answered."""


class About(msgspec.Struct, frozen=True, kw_only=True):
    """Facts about a request that the node which got it shows again. They take no part in names.

    Attributes:
        notes: what was asked for and has no effect here, or another one than it says.
        rules: names of the site's rules that were applied, in their order.
    """

    api: str
    image: str
    fingerprint: str | None = None
    timestamp: str | None = None
    address: str = ""
    notes: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()

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
    def rules(self) -> tuple[str, ...]:
        """Names of the site's rules that this node has applied to it, in their order."""
        return self.about.rules if self.about else ()

    @property
    def build_id(self) -> str | None:
        """The id of its build in Wave's API, if it needs one: what is made or pushed does, what is only pulled not."""
        delivery = self.plan.delivery
        if delivery is not None and delivery.mode == "mirror":
            return None
        is_pushed = delivery is not None and delivery.repository is not None
        return f"bd-{self.token}_0" if is_pushed or self.plan.description.is_built else None

    @property
    def mirror_id(self) -> str | None:
        """The id of its copying in Wave's API, if it is a mirror."""
        delivery = self.plan.delivery
        return f"mr-{self.token}_0" if delivery is not None and delivery.mode == "mirror" else None


def notes_of(request: ContainerRequest) -> str:
    """Return the notes on a request, and the site's rules that were applied to it, as lines of its log."""
    notes = "".join(f"note: {note}\n" for note in (request.about.notes if request.about else ()))
    return notes + (f"rules: {', '.join(request.rules)}\n" if request.rules else "")


PIN_WAIT = 2.0
"""Seconds that an answer waits for the pin where nothing else is said."""


@dataclass(frozen=True, slots=True)
class Options:
    """How a request is worked on; no part of its name.

    Attributes:
        dry_run: whether only the name is wanted.
        refresh: whether its packages are solved for anew.
        wait: seconds that the answer waits for the pin at the most; then the work goes on.
        keep: whether the work goes on too if who asks goes away; else only where somebody else wants it.
    """

    dry_run: bool = False
    refresh: bool = False
    wait: float = PIN_WAIT
    keep: bool = True


@dataclass(frozen=True, slots=True)
class Request:
    """What one caller asks for.

    Attributes:
        asked: the plan as the door has read it.
        effective: the plan that rules and settings of the site make of it: this is pinned and named.
        identity: who asks.
        about: facts that are shown again.
        inline: bytes of layers that came with the request.
        options: how it is worked on.
        asking: who asks and how, as rules of the site tell requests apart; None: by this daemon itself, to which no
            rules apply.
        packs: packs of this node that it asks for, `<name>` or `<name>@<version>` each.
    """

    asked: Node
    effective: Node
    identity: Identity
    about: About
    inline: Mapping[Digest, bytes] = field(default_factory=dict)
    options: Options = field(default_factory=Options)
    asking: Asking | None = None
    packs: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        asked: Node,
        identity: Identity,
        about: About,
        *,
        inline: Mapping[Digest, bytes] | None = None,
        options: Options | None = None,
        asking: Asking | None = None,
        packs: tuple[str, ...] = (),
    ) -> Self:
        """Return a request to which no rule was applied yet."""
        return cls(asked, asked, identity, about, inline or {}, options or Options(), asking, packs)


def localised(plan: Node, token: str) -> Node:
    """Return the plan with its inline layers located beside the record of `token`."""

    def locate(layer: Layer) -> Layer:
        return replace(layer, location=INLINE + token) if layer.location.startswith(INLINE) else layer

    return map_layers(plan, locate)


Rewrite = Callable[[Node], Node]
"""What a setting makes of a plan. It raises a CallerError where the site does not allow what is asked for."""
