"""A request for a container, from the door that reads it to the answer: one value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from wavelet.image.digest import Digest
from wavelet.plan.identity import Identity
from wavelet.plan.node import Node
from wavelet.requests.container_request import About

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
        effective: the plan that the site's rules make of it (`wavelet.requests.rules`): this is pinned and named.
        identity: who asks.
        about: facts that are shown again.
        inline: bytes of layers that came with the request.
        options: how it is worked on.
    """

    asked: Node
    effective: Node
    identity: Identity
    about: About
    inline: Mapping[Digest, bytes] = field(default_factory=dict)
    options: Options = field(default_factory=Options)

    @classmethod
    def of(
        cls,
        asked: Node,
        identity: Identity,
        about: About,
        *,
        inline: Mapping[Digest, bytes] | None = None,
        options: Options | None = None,
    ) -> Self:
        """Return a request to which no rule was applied yet."""
        return cls(asked, asked, identity, about, inline or {}, options or Options())
