"""Names that were given before it was known what they are, and rules that judge what that is, where they are bound."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_bindings import ask, augmented, pull, undecided

from doubles.registry import Registry
from lab.node import open_node
from wavelet.image.reference import Digest
from wavelet.rules.applying import RuleRefused
from wavelet.rules.model import Do, Rule, RuleSet, When
from wavelet.rules.site_rules import RulesUnread

NONE_OF_THESE = RuleSet((Rule("known", "a.yaml: rule 1", When(), Do(digests=frozenset({Digest.of(b"x")}))),))
CLOSED = RuleSet(problems=("a.yaml: no",), is_closed=True)


async def test_an_undecided_name_is_bound_only_to_what_the_node_admits(registry: Registry, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    async with open_node(tmp_path / "one", shared=shared) as one, open_node(tmp_path / "two", shared=shared) as two:
        one.rule_set = two.rule_set = NONE_OF_THESE
        request = await undecided(registry, one, augmented(registry))
        for node in (one, two):
            with pytest.raises(RuleRefused, match="none of those that the site allows"):
                await pull(node, request.token)
        two.rule_set = CLOSED
        with pytest.raises(RulesUnread):
            await pull(two, request.token)
        two.rule_set = RuleSet()
        answered = await pull(two, request.token)
        assert await pull(one, request.token) == answered, "what a name answers stays"
        with pytest.raises(RuleRefused):
            await ask(one, augmented(registry))
