"""What programs read of the command: the members of `-o json` of each command, and the exit codes."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from documented.wire import golden
from lab.command import Wavelet
from lab.grpc_site import Site
from lab.ports import free_port
from lab.registry import PASSWORDS

pytestmark = [pytest.mark.registry, pytest.mark.conda]

GOLDEN = golden("commands")
ABSENT = "0" * 32

CALLS: dict[str, Callable[[Site, str], list[str]]] = {
    "resolve": lambda site, _: ["resolve", "--image", site.image, "--config-env", "A=b"],
    "requests": lambda *_: ["requests", "--limit", "1"],
    "show": lambda _, token: ["show", token],
    "inspect": lambda site, _: ["inspect", site.image],
    "pull": lambda site, _: ["pull", site.image],
    "prefetch": lambda site, _: ["prefetch", site.image],
    "mirror": lambda site, _: ["mirror", site.image, "--to", f"{site.registry.host}/copies", "--dry-run"],
    "arch-report": lambda site, _: ["arch-report", str(_inspected(site)), "--platform", "linux/amd64"],
    "conda solve": lambda *_: ["conda", "solve", "htslib=1.17"],
    "conda lock": lambda *_: ["conda", "lock", "htslib=1.17"],
    "conda image": lambda *_: ["conda", "image", "htslib=1.17"],
    "rules list": lambda *_: ["rules", "list"],
    "rules explain": lambda site, _: ["rules", "explain", site.image],
    "rules check": lambda site, _: ["rules", "check", "--images", str(_inspected(site)), str(_rules(site))],
    "pack list": lambda *_: ["pack", "list"],
    "pack show": lambda *_: ["pack", "show", "lab"],
    "pack check": lambda site, _: ["pack", "check", str(_pack(site))],
    "pack build": lambda site, _: ["pack", "build", str(_pack(site)), "--to", str(_new_directory(site))],
    "cache ls": lambda *_: ["cache", "ls"],
    "cache ls --blobs": lambda *_: ["cache", "ls", "--blobs"],
    "cache stats": lambda *_: ["cache", "stats"],
    "cache pin": lambda site, _: ["cache", "pin", site.image],
    "cache unpin": lambda site, _: ["cache", "unpin", site.image],
    "cache gc": lambda *_: ["cache", "gc", "--keep", "50GB"],
    "token describe": lambda _, token: ["token", "describe", token],
    "token evict": lambda _, token: ["token", "evict", token],
    "login --list": lambda *_: ["login", "--list"],
    "logout": lambda *_: ["logout", "--all"],
    "status": lambda site, _: ["status", "--address", site.node.authority],
    "doctor": lambda *_: ["doctor"],
    "config show": lambda *_: ["config", "show"],
}


def _inspected(site: Site) -> Path:
    """Return a file with what `nextflow inspect` prints of one process."""
    path = site.node.state.parent / "inspect.json"
    path.write_text(json.dumps({"processes": [{"name": "A", "container": site.image}]}))
    return path


def _rules(site: Site) -> Path:
    """Return a file of rules."""
    path = site.node.state.parent / "10-rules.yaml"
    path.write_text("- {do: {env: {A: b}}}\n")
    return path


def _pack(site: Site) -> Path:
    """Return the directory of a pack."""
    path = site.node.state.parent / "a-pack"
    path.mkdir(exist_ok=True)
    (path / "pack.yaml").write_text("env: {A: b}\n")
    return path


def _new_directory(site: Site) -> Path:
    return site.node.state.parent / f"layout-{uuid.uuid4().hex}"


def _members(value: Any) -> Any:
    """Return the names of a value's members; of a list, those of its items, in a list."""
    if isinstance(value, list):
        return [sorted({name for item in value for name in item})]
    return sorted(value)


@pytest.fixture
def token(site: Site, wavelet: Wavelet) -> str:
    """Return the token of a request of which an image was made."""
    made = wavelet("resolve", "--image", site.image, "--config-env", "WIRE=1", "--await", "-o", "json")
    return str(made.json()["token"])


@pytest.fixture
def login(site: Site, wavelet: Wavelet) -> Iterator[Any]:
    """Return what is printed of a login, which stands until the test has ended."""
    host = site.private.host
    yield wavelet("login", host, "--username", "ann", "--password-stdin", "-o", "json", stdin=PASSWORDS["ann"]).json()
    wavelet("logout", "--all")


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.usefixtures("login")
def test_the_members_of_what_is_printed(site: Site, wavelet: Wavelet, token: str, name: str) -> None:
    said = wavelet(*CALLS[name](site, token), "--output", "json")
    assert _members(json.loads(said.out)) == GOLDEN["json"][name]


def test_the_members_of_a_login(login: Any) -> None:
    assert _members(login) == GOLDEN["json"]["login"]


def test_the_members_of_an_image_that_failed(site: Site, wavelet: Wavelet) -> None:
    [failed] = json.loads(wavelet("pull", f"{site.registry.host}/lab/absent:1", "-o", "json").out)
    assert _members(failed["error"]) == GOLDEN["json"]["pull, error"]


def test_the_checks_of_the_doctor(wavelet: Wavelet) -> None:
    """Those of engines are there where the engines are; `port`, `settings` and `records` where there is something."""
    checks = {each["check"] for each in json.loads(wavelet("doctor", "-o", "json").out)}
    assert checks - {"docker", "podman", "engines", "port", "settings", "records"} == set(GOLDEN["checks"])


def test_no_command_is_forgotten() -> None:
    assert GOLDEN["json"].keys() == {*CALLS, "login", "pull, error"}


CODES: dict[str, Callable[[Site], list[str]]] = {
    "done": lambda site: ["inspect", site.image],
    "an image failed": lambda site: ["pull", f"{site.registry.host}/lab/absent:1"],
    "wrong arguments": lambda _: ["requests", "--limit", "x"],
    "no command": lambda _: ["stauts"],
    "wrong settings": lambda _: ["config", "check", "--config", "/absent/config.yaml"],
    "no daemon at a socket": lambda _: ["requests", "--socket", "/absent/wavelet.sock"],
    "no daemon at an address": lambda _: ["status", "--address", f"127.0.0.1:{free_port()}"],
    "refused": lambda _: ["show", ABSENT],
    "refused, conda": lambda _: ["conda", "solve", "absent-package"],
}
"""Of a defect (70), Ctrl-C (130), and a reader that has gone (141): `test_edges` and `test_terminal`."""


@pytest.mark.parametrize("name", CODES)
def test_exit_codes(site: Site, wavelet: Wavelet, name: str) -> None:
    assert wavelet(*CODES[name](site)).code == GOLDEN["exit codes"][name]


def test_the_page_of_the_command_says_all_exit_codes() -> None:
    page = (Path(__file__).parents[2] / "docs" / "cli.md").read_text("utf-8")
    table = page.partition("| exit code | |")[2].partition("\n\n")[0]
    assert [int(row.split("|")[1]) for row in table.splitlines()[2:]] == [0, 1, 2, 3, 4, 70, 130]
