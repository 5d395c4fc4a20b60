"""The rules of the site applied to a plan: what is asked for becomes what is pinned and made. Pure.

Each rule is applied once, in order, and sees what those before it have made, so that rules compose and cannot loop.
What is asked for by digest is never changed: it may come from elsewhere, or be refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from wavelet.errors import AccessRefused, InvalidName
from wavelet.image.reference import Reference
from wavelet.packs.model import Pack, PackRefused, Packs, PackUse
from wavelet.plan.hosted import shown
from wavelet.plan.node import Node
from wavelet.rules.adding import Addition, add
from wavelet.rules.index import IndexedRules
from wavelet.rules.matching import Path, Start, concerns, is_platform, matches, redirected, starts
from wavelet.rules.model import Asking, Do, Rule

BY_DIGEST = "what is asked for by digest is not changed"
COPIED = "the image is copied as it is"
BY_OWN_NAME = "images pulled by their own names are changed only by rules with `names: changed`"


class RuleRefused(AccessRefused):
    """A rule of the site does not allow what is asked for."""

    reason = "RULE_REFUSED"
    negative_ttl = 0.0


@dataclass(frozen=True, slots=True)
class RuleEffect:
    """What one rule has done to one image, or why nothing although it applies: `text`, a sentence."""

    rule: Rule
    image: str
    text: str
    is_change: bool = True


@dataclass(slots=True)
class Outcome:
    """What the rules make of a plan.

    Attributes:
        plan: the effective one.
        effects: in the order in which they came to be.
        packs: what was added by name.
        notes: for who asks: on packs that were left out.
    """

    plan: Node
    effects: list[RuleEffect] = field(default_factory=list)
    packs: list[Pack] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def applied(self) -> tuple[str, ...]:
        """Names of the rules that have changed something."""
        return tuple(dict.fromkeys(each.rule.name for each in self.effects if each.is_change))


def apply(rules: IndexedRules, plan: Node, asking: Asking, packs: Packs, wanted: Sequence[PackUse] = ()) -> Outcome:
    """Return what the rules make of a plan.

    Args:
        rules: in their order.
        plan: as it is asked for.
        asking: who asks, and how. An image that is answered under its own name, and not under one that a request
            gets, has nothing added but by rules which say so.
        packs: of this node.
        wanted: packs that the request itself asks for; they are added below those of rules.

    Raises:
        RuleRefused: a rule does not allow it.
        PackRefused: a pack cannot be added.
    """
    outcome, refused = explained(rules, plan, asking, packs, wanted)
    if refused is not None:
        raise refused
    return outcome


def explained(
    rules: IndexedRules, plan: Node, asking: Asking, packs: Packs, wanted: Sequence[PackUse] = ()
) -> tuple[Outcome, RuleRefused | PackRefused | None]:
    """Return what the rules make of a plan as far as they come, and why no further; see `apply`."""
    application = _Application(asking, packs, Outcome(plan), list(starts(plan, asking)))
    number = -1
    try:
        while (following := rules.following(number, application.starts)) is not None:
            number = following
            if concerns(rules.rules[number].when, asking):
                application.apply(rules.rules[number])
        application.add_to_each()
        application.add_to_whole(tuple(wanted))
    except (RuleRefused, PackRefused) as error:
        return application.outcome, error
    return application.outcome, None


@dataclass(slots=True)
class _Application:
    """The rules being applied to one plan.

    Attributes:
        starts: of the plan as it is now.
        whole: rules that add to it once, at the end.
        each: rules that add to one of these images, by where that is; all at once, and at the end too.
    """

    asking: Asking
    packs: Packs
    outcome: Outcome
    starts: list[Start]
    whole: list[Rule] = field(default_factory=list)
    each: dict[Path, list[Rule]] = field(default_factory=dict)

    def apply(self, rule: Rule) -> None:
        """Apply one rule to the images that a plan starts from, and note what it adds to the whole."""
        found = [start for start in self.starts if matches(rule.when, start)]
        for start in found:
            self._check(rule, start)
        if not found:
            return
        # The whole is called after the first image: a rule for another one adds nothing to it.
        first = self.starts[0]
        changed = {start.path: self._changed(rule, start) for start in found}
        if any(changed[start.path] is not start.node for start in found):
            self.outcome.plan = _with(self.outcome.plan, changed)
            self.starts = list(starts(self.outcome.plan, self.asking))
        if rule.do.adds and rule.scope == "whole" and first in found and self._may_add(rule, first):
            self.whole.append(rule)

    def add_to_each(self) -> None:
        """Add to single images what rules add to them."""
        changed: dict[Path, Node] = {}
        for start in self.starts:
            rules = self.each.get(start.path, [])
            added = self._add(start.node, _addition(rules), rules, start.name) if rules else None
            if added is not None:
                changed[start.path] = added
                for rule in rules:
                    self._note(rule, start.name, said_of_additions(rule.do))
        self.outcome.plan = _with(self.outcome.plan, changed)

    def add_to_whole(self, wanted: tuple[PackUse, ...]) -> None:
        """Add all packs together, so that they can be compared with each other."""
        addition = _addition(self.whole, wanted)
        if addition == Addition():
            return
        name = self.starts[0].name
        is_added = self._add(self.outcome.plan, addition, self.whole, name)
        self.outcome.plan = is_added or self.outcome.plan
        for rule in self.whole:
            text = said_of_additions(rule.do) if is_added else f"nothing is added: {COPIED}"
            self._note(rule, name, text, is_change=bool(is_added))
        if wanted and is_added is None:
            self.outcome.notes.append("packs: nothing is added to an image that is copied as it is")

    def _check(self, rule: Rule, start: Start) -> None:
        """Return if a rule allows an image, as far as that can be told before it is pinned.

        Raises:
            RuleRefused: it does not.
        """
        required, why = rule.do.require_platforms, rule.do.refuse
        if required and start.platform is not None and not any(is_platform(start.platform, each) for each in required):
            allowed = ", ".join(map(str, required))
            why = f"It is asked for as {start.platform}, and this site takes {allowed}."
        if why:
            self._note(rule, start.name, "refused", is_change=False)
            raise refusal(rule, start.name, why)

    def _changed(self, rule: Rule, start: Start) -> Node:
        """Return an image as a rule has it."""
        node, do = start.node, rule.do
        if do.redirect is not None and start.reference is not None:
            elsewhere = self._redirected(rule, start, start.reference)
            if elsewhere != start.reference:
                node = node.renamed(elsewhere)
                self._note(rule, start.name, f"taken from {shown(elsewhere)}")
        if do.set_platform is not None and do.set_platform != start.platform:
            if why := self._why_no_platform(rule, start):
                self._note(rule, start.name, f"its platform stays: {why}", is_change=False)
            else:
                node = node.for_platform(do.set_platform)
                self._note(rule, start.name, f"for {do.set_platform}")
        if do.adds and rule.scope == "each" and self._may_add(rule, start):
            self.each.setdefault(start.path, []).append(rule)
        return node

    def _redirected(self, rule: Rule, start: Start, reference: Reference) -> Reference:
        """Return where a rule has an image from.

        Raises:
            RuleRefused: that is nowhere: it is not taken from where it must not come from instead.
        """
        assert rule.do.redirect is not None, "who calls has looked"
        try:
            return redirected(reference, rule.do.redirect)
        except InvalidName as error:
            self._note(rule, start.name, "refused", is_change=False)
            raise refusal(rule, start.name, f"It is to be taken from elsewhere, but {error.message}") from None

    def _why_no_platform(self, rule: Rule, start: Start) -> str:
        if start.source != "image":
            return "packages are solved for the platform that the request names"
        if start.is_by_digest:
            return BY_DIGEST
        if self.asking.is_named and not rule.changes_names:
            return BY_OWN_NAME
        # Nextflow names one always: the site says which ones it means.
        is_meant = not self.asking.has_platform or bool(rule.when.platforms)
        return (
            "" if is_meant else "the request names one, and the rule does not say which ones it is for (when.platform)"
        )

    def _may_add(self, rule: Rule, start: Start) -> bool:
        """Tell whether a rule may add to an image; why it may not is noted."""
        is_kept = self.asking.is_named and not rule.changes_names
        why = BY_DIGEST if start.is_by_digest else BY_OWN_NAME if is_kept else ""
        if rule.scope == "each" and start.is_copied:
            why = COPIED
        if why:
            self._note(rule, start.name, f"nothing is added: {why}", is_change=False)
        return not why

    def _add(self, plan: Node, addition: Addition, rules: Sequence[Rule], image: str) -> Node | None:
        try:
            added = add(plan, addition, self.packs, tuple(dict.fromkeys(rule.name for rule in rules)))
        except PackRefused as error:
            adding = [rule for rule in rules if rule.do.packs]
            for rule in adding:
                self._note(rule, image, "refused", is_change=False)
            raise _told_of(error, adding) from None
        self.outcome.packs += [pack for pack in added.packs if pack not in self.outcome.packs]
        self.outcome.notes += [note for note in added.notes if note not in self.outcome.notes]
        return added.plan

    def _note(self, rule: Rule, image: str, text: str, *, is_change: bool = True) -> None:
        self.outcome.effects.append(RuleEffect(rule, image, text, is_change))


def _addition(rules: Sequence[Rule], wanted: tuple[PackUse, ...] = ()) -> Addition:
    """Return what several rules add together; of a variable that two of them set, the later one's value counts."""
    does = [rule.do for rule in rules]
    return Addition(
        (*wanted, *(use for do in does for use in do.packs)),
        tuple(each for do in does for each in do.env),
        tuple(each for do in does for each in do.labels),
    )


def _with(plan: Node, changes: Mapping[Path, Node], path: Path = ()) -> Node:
    """Return a plan with other nodes at some paths: the numbers of the children on the way."""
    if path in changes:
        return changes[path]
    if not plan.children or not any(each[: len(path)] == path for each in changes):
        return plan
    return plan.with_children([_with(child, changes, (*path, n)) for n, child in enumerate(plan.children)])


def _told_of(error: PackRefused, rules: Sequence[Rule]) -> PackRefused:
    """Return why packs cannot be added, with the rules by which some are: who asks may have named none."""
    names = ", ".join(dict.fromkeys(rule.name for rule in rules))
    said = f"{error.message} (the site's rules add packs here: {names})"
    return PackRefused(said, field=error.field) if names else error


def refusal(rule: Rule, image: str, why: str) -> RuleRefused:
    """Return the error of an image that a rule does not allow: the site's sentence first."""
    return RuleRefused(f"{why} ({image} is refused by the site's rule {rule.name})")


def said_of_additions(do: Do) -> str:
    """Return in a few words what a rule adds."""
    parts = {
        "packs": [each.text for each in do.packs],
        "environment": [each.partition("=")[0] for each in do.env],
        "labels": [name for name, _ in do.labels],
    }
    return "added: " + "; ".join(f"{what} {', '.join(names)}" for what, names in parts.items() if names)
