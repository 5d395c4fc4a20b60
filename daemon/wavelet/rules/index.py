"""Rules by the registries that they are for: of hundreds, those that an image can concern are found at once. Pure."""

from __future__ import annotations

import functools
from bisect import bisect_right
from collections.abc import Collection, Sequence
from dataclasses import replace

from wavelet.rules.model import Do, Rule, When

_KEPT = 256


class IndexedRules:
    """Rules in their order.

    Attributes:
        rules: all of them.
        groups: whether one asks for the groups of a user.
        admit: those that judge what was pinned.
    """

    def __init__(self, rules: Sequence[Rule] = ()) -> None:
        self.rules = tuple(rules)
        self.groups = any(rule.when.gids for rule in self.rules)
        self.admit = tuple(rule for rule in self.rules if rule.do.admits)
        self._anywhere: list[int] = []
        self._of: dict[str, list[int]] = {}
        self._found: dict[frozenset[str], list[int]] = {}
        for number, rule in enumerate(self.rules):
            for registry in _registries(rule):
                (self._anywhere if registry is None else self._of.setdefault(registry, [])).append(number)

    @functools.cached_property
    def for_anybody(self) -> IndexedRules:
        """The same rules as far as they refuse and redirect whoever asks, and however."""
        return IndexedRules([replace(rule, do=_place(rule.do)) for rule in self.rules if _is_for_all(rule.when)])

    def following(self, number: int, registries: Collection[str]) -> int | None:
        """Return the number of the first rule after another one that may be for images of some registries."""
        numbers = self._numbers(frozenset(registries))
        place = bisect_right(numbers, number)
        return numbers[place] if place < len(numbers) else None

    def _numbers(self, registries: frozenset[str]) -> list[int]:
        found = self._found.get(registries)
        if found is None:
            parts = (self._of.get(registry, ()) for registry in registries)
            found = sorted({*self._anywhere, *(number for part in parts for number in part)})
            if len(self._found) < _KEPT:
                self._found[registries] = found
        return found


def _registries(rule: Rule) -> set[str | None]:
    """Return the registries of whose images a rule may be; None: of any."""
    firsts = {each.repository.text.partition("/")[0] for each in rule.when.images}
    if not firsts or any("*" in first for first in firsts):
        return {None}
    return set(firsts)


def _is_for_all(when: When) -> bool:
    return not (when.doors or when.forms or when.uids or when.gids or when.labels)


def _place(do: Do) -> Do:
    return Do(refuse=do.refuse, redirect=do.redirect)
