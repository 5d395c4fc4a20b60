"""The guide to the code names files and rooms that are there."""

from __future__ import annotations

import re

import pytest

from documented.commands import ROOT

GUIDE = (ROOT / "docs" / "code.md").read_text()
PACKAGE = ROOT / "daemon" / "wavelet"
NAMES = sorted(set(re.findall(r"`([a-z_]+(?:/[a-z_.]+)*/?(?:\.py)?)`", GUIDE)))
PLACES = [name for name in NAMES if "/" in name or name.endswith(".py")]


def test_the_guide_names_places() -> None:
    assert len(PLACES) > 30


@pytest.mark.parametrize("name", PLACES)
def test_a_place_is_there(name: str) -> None:
    """Fault F6: the guide told of what was not so."""
    if name.startswith(("tests/", "front/", "make/", "plan/")) or name.endswith("/"):
        found = [ROOT / name, PACKAGE / name]
    else:
        found = [ROOT / name, PACKAGE / name, *PACKAGE.rglob(name.rpartition("/")[2])]
    assert any(path.exists() for path in found), name
