"""What the daemon says of a request and its rules, as lines for people and as a value for programs. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator

from wavelet.cli.output import plain
from wavelet.cli.rules.plan_text import plan_lines
from wavelet.v1.rules_pb2 import ExplainRulesResponse

BINDS = "it binds: what asks in this way gets this and nothing else"


def value_of(said: ExplainRulesResponse) -> dict[str, object]:
    """Return it as a plain value, in which the plans are values too; null where there is none."""
    plans = {"askedPlan": _plan(said.asked_plan), "effectivePlan": _plan(said.effective_plan)}
    return plain(said) | plans


def lines_of(said: ExplainRulesResponse) -> Iterator[str]:
    """Yield it as lines: what is asked for, each rule and what it did, what comes of it, and whether that binds."""
    yield from _section("asked", said.asked_plan)
    yield "rules" if said.effects else "rules: none applies"
    for each in said.effects:
        yield f"  {each.rule} ({each.place})"
        yield f"    {each.image}: {each.effect}"
    if said.refusal:
        yield f"refused: {said.refusal}"
    yield from _section("effective", said.effective_plan)
    if said.needs.devices:
        yield f"devices: {', '.join(said.needs.devices)}"
    if said.needs.capabilities:
        yield f"capabilities: {', '.join(said.needs.capabilities)}"
    if said.advice:
        yield f"advice: {said.advice}"
    elif said.effects:
        yield BINDS


def _section(title: str, plan: str) -> Iterator[str]:
    found = _plan(plan)
    if isinstance(found, dict):
        yield title
        yield from (f"  {line}" for line in plan_lines(found.get("plan", found)))


def _plan(text: str) -> object:
    return json.loads(text) if text else None
