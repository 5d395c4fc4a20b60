"""Rules by the images that they are for: of hundreds, those that concern an image are found at once."""

from __future__ import annotations

import functools
from bisect import bisect_right
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import replace

from cachetools import LRUCache

from wavelet.rules.matching import Start, matches
from wavelet.rules.model import Do, Rule, When

IMAGES_HELD = 4096
"""Images of which it is known which rules are for them; one that is forgotten is looked at again."""


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
        self._for: LRUCache[tuple[Hashable, ...], list[int]] = LRUCache(IMAGES_HELD)
        for number, rule in enumerate(self.rules):
            for registry in _registries(rule):
                (self._anywhere if registry is None else self._of.setdefault(registry, [])).append(number)

    @functools.cached_property
    def for_anybody(self) -> IndexedRules:
        """The same rules as far as they refuse and redirect whoever asks, and however."""
        return IndexedRules([replace(rule, do=_place(rule.do)) for rule in self.rules if _is_for_all(rule.when)])

    def following(self, number: int, starts: Iterable[Start]) -> int | None:
        """Return the number of the first rule after another one that is for one of some images, whoever asks."""
        found = None
        for start in starts:
            numbers = self._numbers(start)
            place = bisect_right(numbers, number)
            if place < len(numbers) and (found is None or numbers[place] < found):
                found = numbers[place]
        return found

    def _numbers(self, start: Start) -> list[int]:
        key = (start.repository, start.reference, start.source, start.platform)
        found = self._for.get(key)
        if found is None:
            registry = start.repository.partition("/")[0]
            candidates = sorted({*self._anywhere, *self._of.get(registry, ())})
            found = self._for[key] = [each for each in candidates if matches(self.rules[each].when, start)]
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
