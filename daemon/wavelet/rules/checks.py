"""The warnings on rules that can be read and are surely not meant: they never apply, or another one undoes them. Pure.

For whoever writes rules (`wavelet rules check`); a daemon takes them as they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from wavelet.rules.covering import allows, covers, is_below, may_be_below
from wavelet.rules.model import Door, Form, Rule, Source, When

FORMS_OF: dict[Door, frozenset[Form]] = {
    "wave": frozenset({"request"}),
    "grpc": frozenset({"request", "near-cache", "conda"}),
    "registry": frozenset({"near-cache", "conda"}),
    "sif": frozenset({"near-cache", "conda"}),
    "inspect": frozenset({"near-cache"}),
}
"""The forms in which something is asked for by each door."""

SOURCES_OF: dict[Form, frozenset[Source]] = {
    "request": frozenset({"image", "conda", "containerfile"}),
    "near-cache": frozenset({"image"}),
    "conda": frozenset({"conda"}),
}
"""What is asked for in each form."""


def warnings_of(rules: Sequence[Rule]) -> list[str]:
    """Return what is surely not meant in rules that are applied in this order: a sentence each, with its place."""
    return [f"{rule.place} ({rule.name}): {what}" for rule, what in _warnings(rules)]


def _warnings(rules: Sequence[Rule]) -> Iterator[tuple[Rule, str]]:
    taking: list[int] = []
    setting: dict[int, Mapping[str, str]] = {}
    for number, rule in enumerate(rules):
        yield from ((rule, what) for what in _alone(rule))
        covering = (each for each in taking if covers(rules[each].when, rule.when))
        why = next((why for each in covering if (why := _why_never(rules[each : number + 1]))), "")
        if why:
            yield rule, f"never applies: {why}"
        elif sets := _sets(rule):
            undone = {each: what for each in setting if (what := _undone(rules[each], setting[each], rule, sets))}
            for each, what in undone.items():
                yield rules[each], what
                del setting[each]  # one who does it is enough
            setting[number] = sets
        do = rule.do
        if do.refuse or do.redirect or do.require_platforms:
            taking.append(number)


def _alone(rule: Rule) -> Iterator[str]:
    """Yield what is wrong with a rule whatever others there are."""
    when, do = rule.when, rule.do
    forms = _forms(when)
    if not forms:
        yield f"never applies: {_why_no_form(when)}"
        return
    changes = do.adds or do.set_platform is not None
    if rule.changes_names and not changes:
        yield "`names: changed` is for what adds to images or chooses their platform, and this rule does neither"
    elif rule.changes_names and forms == {"request"}:
        yield "`names: changed` does nothing: with these conditions it is for requests alone, which get a name anyway"
    elif changes and not rule.changes_names and "request" not in forms:
        yield (
            "changes nothing: images that are pulled by their own names are changed only by rules with `names: changed`"
        )
    if rule.scope == "each" and not do.adds:
        yield "`to: each` is for packs, env and labels, and this rule adds none"
    if (
        do.redirect is not None
        and when.images
        and not any(may_be_below(each, do.redirect.prefix) for each in when.images)
    ):
        yield f"redirects nothing: no image of when.image lies below {do.redirect.prefix}"


def _forms(when: When) -> set[Form]:
    """Return the forms in which something can be asked for so that a rule applies."""
    return {
        form
        for door in when.doors or FORMS_OF
        for form in FORMS_OF[door]
        if (not when.forms or form in when.forms)
        and (not when.sources or not SOURCES_OF[form].isdisjoint(when.sources))
        and (not when.labels or form == "request")
    }


def _why_no_form(when: When) -> str:
    said = {"door": when.doors, "form": when.forms, "source": when.sources}
    given = [f"{name} {' or '.join(sorted(values))}" for name, values in said.items() if values]
    if when.labels:
        given.append("labels, which requests alone carry")
    return f"nothing is asked for with {' and '.join(given)}"


def _why_never(rules: Sequence[Rule]) -> str:
    """Return why the first of some rules, which covers the last one, leaves nothing for it; empty: it may."""
    first, *between, rule = rules
    called, do, images = f"{first.place} ({first.name})", first.do, rule.when.images
    others = [each.do.redirect.to for each in between if each.do.redirect is not None]
    if others and (not images or any(may_be_below(image, to) for to in others for image in images)):
        return ""  # another redirect may bring such images here
    if do.refuse:
        return f"{called} refuses all of it before"
    chosen = {each.do.set_platform for each in between}
    asked = rule.when.platforms
    if do.require_platforms and asked and not any(allows(do.require_platforms, each) for each in asked):
        return "" if chosen & asked else f"{called} refuses these platforms before"
    if do.redirect is None or not images:
        return ""
    prefix, to = do.redirect.prefix, do.redirect.to
    is_moved = all(is_below(each, prefix) and not may_be_below(each, to) for each in images)
    return f"{called} redirects these images to {to} before; name them as they are there" if is_moved else ""


def _undone(first: Rule, mine: Mapping[str, str], rule: Rule, sets: Mapping[str, str]) -> str:
    """Return what of a rule, which sets `mine`, a later one, which `sets` that much, always undoes; empty: nothing."""
    lost = sorted(name for name in mine.keys() & sets.keys() if mine[name] != sets[name])
    if not lost or first.scope != rule.scope or (first.changes_names and not rule.changes_names):
        return ""
    if not covers(rule.when, first.when):
        return ""  # an exception of what is usual
    return f"{', '.join(lost)} is set otherwise by {rule.place} ({rule.name}), which comes later and so holds"


def _sets(rule: Rule) -> dict[str, str]:
    """Return what a rule sets of which there is one value, by its name for messages."""
    variables = (each.partition("=") for each in rule.do.env)
    sets = {f"env {name}": value for name, _, value in variables} | {f"label {name}": v for name, v in rule.do.labels}
    return sets | ({} if rule.do.set_platform is None else {"the platform": str(rule.do.set_platform)})
