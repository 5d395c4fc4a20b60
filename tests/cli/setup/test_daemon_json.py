"""The daemon in daemon.json: the first mirror, beside all that was there, and taken out again to the byte."""

from __future__ import annotations

import json

import pytest

from wavelet.cli.setup.daemon_json import KEY, mirrors_of, with_mirror, without_mirror
from wavelet.errors import NotStarted

AT, OTHER = "127.0.0.1:9090", "localhost:9091"
URL = f"http://{AT}"
SITE = "https://hub.site.example"
TEXTS = {
    "indented": '{\n    "data-root": "/srv/docker",\n    "log-level": "warn"\n}\n',
    "one line": '{"log-level":"warn","mtu":1400}',
    "empty": "{}",
    "empty lines": "\n{\n}\n\n",
    "mirrors": f'{{\n  "{KEY}": ["{SITE}"],\n  "mtu": 1400\n}}\n',
    "mirrors in lines": f'{{\n\t"mtu": 1400,\n\t"{KEY}": [\n\t\t"{SITE}"\n\t]\n}}\n',
    "an empty list": f'{{"{KEY}": []}}\n',
    "an empty list in front": f'{{\n  "{KEY}": [],\n  "mtu": 1400}}\n',
    "a loopback mirror of somebody": f'{{"{KEY}": ["http://127.0.0.1:5000", "{SITE}"]}}',
    "other letters": '{"labels": ["größe=ü"]}\n',
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_it_is_put_in_front_and_taken_out_to_the_byte(text: str) -> None:
    after = with_mirror(text, AT, "f")
    assert json.loads(after) == json.loads(text) | {KEY: [URL, *json.loads(text).get(KEY, [])]}
    assert with_mirror(after, AT, "f") == after
    assert without_mirror(after, "") == text
    assert without_mirror(text, "") == text
    moved = with_mirror(after, OTHER, "f")
    assert mirrors_of(moved)[0] == f"http://{OTHER}"
    assert URL not in mirrors_of(moved)
    assert without_mirror(moved, "") == text


def test_a_new_file_is_removed_again_unless_somebody_has_added_to_it() -> None:
    made = with_mirror(None, AT, "f")
    assert json.loads(made) == {KEY: [URL]}
    assert without_mirror(made, "") is None
    added = made.replace("]\n}", '],\n  "mtu": 1400\n}')
    assert json.loads(without_mirror(added, "") or "") == {"mtu": 1400}
    in_front = made.replace("{\n", '{\n  "mtu": 1400,\n', 1)
    assert json.loads(without_mirror(in_front, AT) or "") == {"mtu": 1400}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_what_somebody_has_formatted_anew_is_known_by_its_address(text: str) -> None:
    anew = json.dumps(json.loads(with_mirror(text, AT, "f")), indent=4) + "\n"
    assert without_mirror(anew, "") == anew
    left = json.loads(without_mirror(anew, AT) or "")
    assert left == {key: value for key, value in json.loads(text).items() if value or key != KEY}


@pytest.mark.parametrize("text", ["", "[]", '{"mtu": 1400,}', f'{{"{KEY}": "{SITE}"}}', "// no\n{}"])
def test_what_dockerd_does_not_read_is_refused(text: str) -> None:
    with pytest.raises(NotStarted, match="mend it first"):
        with_mirror(text, AT, "f")


def test_a_key_that_only_looks_like_it_is_not_changed() -> None:
    text = f'{{"x": {{"{KEY}": []}}, "{KEY}": ["{SITE}"]}}'
    with pytest.raises(NotStarted, match="cannot be added to"):
        with_mirror(text, AT, "f")


def test_the_daemon_is_not_named_twice() -> None:
    text = json.dumps({KEY: [SITE, URL]})
    assert with_mirror(text, AT, "f") == text
