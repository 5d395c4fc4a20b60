"""What admits: rules that judge what an image was pinned to. They may ask registries; those of today need not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from wavelet.image.reference import Digest
from wavelet.plan.node import Node
from wavelet.rules.applying import refusal
from wavelet.rules.matching import Start, matches, starts
from wavelet.rules.model import Asking, Rule

ANYBODY = Asking("wave", "request")
"""Who asks takes no part: a name may be bound long after it was asked for, and on another node."""


async def admit(rules: Sequence[Rule], asked: Node, pinned: Node, asking: Asking = ANYBODY) -> None:
    """Return if the rules admit what a plan was pinned to.

    Args:
        rules: those that judge.
        asked: the effective plan, as it was before it was pinned.
        pinned: the same, of which nothing moves.
        asking: by which hosts references name this node.

    Raises:
        RuleRefused: a rule does not admit it.
    """
    judges = list(judged(rules, asked, asking))
    if not judges:
        return
    fixed = {start.path: start.node.digest for start in starts(pinned, asking)}
    for rule, start in judges:
        digest = fixed.get(start.path)
        if digest is None and rule.do.digests:
            raise refusal(rule, start.name, "What it is cannot be told, and so not whether the site allows it")
        judge(rule, start, digest)


def judged(rules: Sequence[Rule], plan: Node, asking: Asking = ANYBODY) -> Iterator[tuple[Rule, Start]]:
    """Yield the images that a plan starts from, each with those of `rules` that judge it when it is pinned."""
    for start in starts(plan, asking) if rules else ():
        yield from ((rule, start) for rule in rules if matches(rule.when, start))


def judge(rule: Rule, start: Start, digest: Digest | None) -> None:
    """Return if a rule admits an image that was pinned to a digest; None: it is not known yet.

    Raises:
        RuleRefused: it does not.
    """
    if rule.do.require_digest and start.reference is not None and start.reference.digest is None:
        raise refusal(rule, start.name, "Ask for it by digest, NAME@sha256:…")
    if rule.do.digests and digest is not None and digest not in rule.do.digests:
        raise refusal(rule, start.name, f"It is {digest}, which is none of those that the site allows")
