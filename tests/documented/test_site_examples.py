"""Rules and packs that the pages show: each is read as the daemon reads it."""

from __future__ import annotations

import re

import pytest

from documented.commands import PAGES, ROOT
from wavelet.bounded_yaml import read_yaml
from wavelet.packs.reading import read_pack
from wavelet.rules.read_when import NodeNames
from wavelet.rules.reading import read_rules

_FENCED = re.compile(r"^```yaml\n(.*?)^```", re.DOTALL | re.MULTILINE)
_NODE = NodeNames(user=lambda _: 1000, group=lambda _: 1000)
_OF_A_PACK = {"layers", "certificates"}


def examples() -> list[tuple[str, str]]:
    """Return the blocks of YAML of all pages, each with the page that has it, and its number there."""
    return [
        (f"{page.relative_to(ROOT)}:{number}", text)
        for page in PAGES
        for number, text in enumerate(_FENCED.findall(page.read_text("utf-8")), 1)
    ]


READ = [(where, text, read_yaml(text, where)) for where, text in examples()]
RULES = [(where, text) for where, text, value in READ if isinstance(value, list)]
PACKS = [(where, text) for where, text, value in READ if isinstance(value, dict) and _OF_A_PACK & value.keys()]


@pytest.mark.parametrize(("where", "text"), RULES)
def test_rules_can_be_used(where: str, text: str) -> None:
    assert read_rules(text, where, _NODE)


@pytest.mark.parametrize(("where", "text"), PACKS)
def test_packs_can_be_used(where: str, text: str) -> None:
    assert read_pack(text, where, "example").name


def test_there_are_some() -> None:
    assert len(RULES) >= 3
    assert len(PACKS) >= 3


def test_the_reference_has_every_member() -> None:
    from wavelet.packs import reading as packs
    from wavelet.rules import read_do, read_when, reading

    rules = (ROOT / "docs" / "rules.md").read_text()
    members = (*reading.MEMBERS, *read_when.WHEN_MEMBERS, *read_do.DO_MEMBERS)
    assert [each for each in members if f"`{each}`" not in rules] == []
    pack = (ROOT / "docs" / "packs.md").read_text()
    beside = (*packs._OF_ALL, *(each for keys in packs._WITH.values() for each in keys))
    known = (*packs._KEYS, *packs._SOURCES, *beside)
    assert [each for each in known if f"`{each}`" not in pack] == []
