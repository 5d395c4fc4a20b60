"""The reader of a file of rules: YAML, checked member by member, to rules as values. Pure.

All that is wrong with a file is told at once, for whoever has written it goes through it once.
"""

from __future__ import annotations

import re
from typing import get_args

from wavelet.bounded_yaml import Value, read_yaml
from wavelet.errors import CallerError
from wavelet.rules.members import Faults, Members, RulesBroken, kind_of
from wavelet.rules.model import Rule, Scope
from wavelet.rules.read_do import DO_MEMBERS, read_do
from wavelet.rules.read_when import WHEN_MEMBERS, NodeNames, read_when

RULES_LIMIT = 2000
"""Rules of one file."""

FAULTS_LIMIT = 20
"""Faults of one file that are told."""

MEMBERS = ("name", "when", "do", "to", "names")

SCOPES: tuple[Scope, ...] = get_args(Scope)

_ELSEWHERE = {**dict.fromkeys(WHEN_MEMBERS, "when"), **dict.fromkeys(DO_MEMBERS, "do")}
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9])?")


def read_rules(text: str, file: str, names: NodeNames) -> tuple[Rule, ...]:
    """Return the rules of a file: a list of them, or a mapping `rules` with that list.

    Args:
        text: what is in it.
        file: how messages call it, `rules.d/10-site.yaml`.
        names: what names mean on this node.

    Raises:
        RulesBroken: it cannot be used; each fault is a line that says the file, the rule and what to do.
    """
    faults: list[str] = []
    rules = []
    for number, value in enumerate(_list_of(text, file), 1):
        read = _rule(value, file, number, names)
        if isinstance(read, Rule):
            rules.append(read)
        else:
            faults += read.found
    if faults:
        more = len(faults) - FAULTS_LIMIT
        raise RulesBroken("\n".join((*faults[:FAULTS_LIMIT], *([f"{file}: and {more} more"] if more > 0 else ()))))
    return tuple(rules)


def _list_of(text: str, file: str) -> list[Value]:
    try:
        value = read_yaml(text, file)
    except CallerError as error:
        raise RulesBroken(error.message) from None
    if isinstance(value, dict) and set(value) == {"rules"}:
        value = value["rules"]
    if isinstance(value, dict):
        one = " (this is one rule: put `- ` before it)" if "do" in value else ""
        members = ", ".join(repr(each[:80]) for each in list(value)[:5])
        raise RulesBroken(f"{file}: has {members} where a list of rules is taken{one}")
    if value == "":
        return []  # nothing but comments
    if not isinstance(value, list):
        raise RulesBroken(f"{file}: is {kind_of(value)}; it takes a list of rules")
    if len(value) > RULES_LIMIT:
        raise RulesBroken(f"{file}: has {len(value)} rules; {RULES_LIMIT} are the most")
    return value


def _rule(value: Value, file: str, number: int, names: NodeNames) -> Rule | Faults:
    place = f"{file}: rule {number}"
    given = value.get("name") if isinstance(value, dict) else None
    name = given.strip() if isinstance(given, str) else ""
    faults = Faults(f"{place} ({name[:64]})" if name else place)
    members = Members(value, "", MEMBERS, faults, _ELSEWHERE)
    if members.text("name") and _NAME.fullmatch(name) is None:
        faults.add("name", f"{name[:80]!r} is no name: 1 to 64 letters, digits and . _ - between them")
    if isinstance(value, dict) and "do" not in members:
        faults.add("", f"has no `do`; it takes one or more of {', '.join(DO_MEMBERS)}")
    when = read_when(members.value("when") if "when" in members else {}, names, faults)
    do = read_do(members.value("do"), when, names, faults) if "do" in members else None
    scope = members.word("to", SCOPES, "whole")
    changes = "changed" in members.words("names", ("changed",))
    if faults.found or do is None:
        return faults
    return Rule(name or f"{file.rpartition('/')[2]}#{number}", place, when, do, scope, changes)
