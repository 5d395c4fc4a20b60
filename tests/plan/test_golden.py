"""What version 0.2.0 gave plans, names and bodies: their bytes, keys, pins, tokens and names stay what they were."""

from __future__ import annotations

import pytest
from golden import values

PLANS, PARTS, NAMES, BODIES = map(values.load, ("plans", "parts", "names", "bodies"))


@pytest.mark.parametrize("what", PLANS)
def test_a_plan_is_worth_what_it_was(what: str) -> None:
    was = PLANS[what]
    assert values.of_plan(was["record"], was["pinned"], was.get("before", {}).get("path")) == was


@pytest.mark.parametrize("what", PARTS)
def test_a_part_is_worth_what_it_was(what: str) -> None:
    assert values.of_part(PARTS[what]["record"]) == PARTS[what]


@pytest.mark.parametrize("what", NAMES)
def test_a_name_is_worth_what_it_was(what: str) -> None:
    was = NAMES[what]
    assert values.of_name(was["name"], was["registry"], was["platform"]) == was


@pytest.mark.parametrize("what", BODIES)
def test_a_body_is_worth_what_it_was(what: str) -> None:
    was = dict(BODIES[what])
    file = was.pop("file", None)
    body, api = values.recorded(file) if file is not None else (was.pop("body"), was.pop("api"))
    assert values.of_body(body, api) == was


def test_every_recorded_body_is_there() -> None:
    files = {each["file"] for each in BODIES.values() if "file" in each}
    assert files == {path.name for path in values.RECORDED.glob("*-post.json")}
