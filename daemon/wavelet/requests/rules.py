"""A site's rules: what requests ask for is rewritten by them in this one place, before anything is pinned or named.

There are none yet. Here is where an internal mirror in place of a public registry will stand, or a pinned base image.
A rule is a pure function, and idempotent: what it has made of a request may be asked for again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from wavelet.plan.node import Node
from wavelet.requests.request import Request

Rewrite = Callable[[Node], Node]
"""A rule. It raises a CallerError where the site does not allow what is asked for."""

SITE_RULES: tuple[Rewrite, ...] = ()
"""The rules in force, in their order."""


def apply_rules(rules: Sequence[Rewrite], request: Request) -> Request:
    """Return a request with the plan that the rules make of what it asks for.

    Raises:
        CallerError: a rule does not allow it.
    """
    plan = request.asked
    for rewrite in rules:
        plan = rewrite(plan)
    return replace(request, effective=plan)
