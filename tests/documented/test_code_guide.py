"""The guide to the code names files, rooms and classes that are there, and all rooms; its example is one that runs."""

from __future__ import annotations

import ast
import re
from functools import cache

import pytest

from documented.commands import ROOT

GUIDE = (ROOT / "docs" / "code.md").read_text()
PACKAGE = ROOT / "daemon" / "wavelet"
NAMES = sorted(set(re.findall(r"`([\w.]+(?:/[\w.]+)*/?)`", GUIDE)))
PLACES = [name for name in NAMES if "/" in name or name.endswith(".py")]
MEMBERS = [name for name in NAMES if re.fullmatch(r"[A-Z][a-z]\w+(?:\.\w+)?", name)]
ROOMS = sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py") if path.parent.name != "v1")


@cache
def _classes() -> dict[str, set[str]]:
    """Return the members of all classes, by the classes' names."""
    found: dict[str, set[str]] = {}
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ClassDef):
                members = {each.name for each in node.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)}
                found.setdefault(node.name, set()).update(members)
    return found


def test_the_guide_names_places() -> None:
    assert len(PLACES) > 30
    assert len(MEMBERS) > 5


@pytest.mark.parametrize("name", PLACES)
def test_a_place_is_there(name: str) -> None:
    """Fault F6: the guide told of what was not so."""
    below = [PACKAGE / "kinds" / "conda" / name] if name.endswith("/") else []
    assert any(path.exists() for path in (ROOT / name, PACKAGE / name, *below)), name


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_is_told_of(room: str) -> None:
    assert f"`{room}/`" in GUIDE


@pytest.mark.parametrize("name", MEMBERS)
def test_a_class_is_there(name: str) -> None:
    of, _, member = name.partition(".")
    assert of in _classes()
    assert not member or member in _classes()[of]


def test_the_example_of_a_kind_is_the_tested_one() -> None:
    (example,) = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
    assert example in (ROOT / "tests" / "kinds" / "test_a_new_kind.py").read_text()
