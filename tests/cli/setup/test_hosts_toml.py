"""The daemon in hosts.toml files: in front, beside all that was there, and taken out again to the byte."""

from __future__ import annotations

import tomllib

import pytest

from wavelet.cli.setup.hosts_toml import WHOLE, hosts_of, is_set_up, with_daemon, without_daemon
from wavelet.errors import NotStarted

AT = "127.0.0.1:9090"
MIRROR = '[host."https://cache.site.example"]\n  capabilities = ["pull"]\n'
TEXTS = {
    "server and a mirror": f'# The site\nserver = "https://quay.io"\n\n{MIRROR}',
    "server alone": 'server = "https://quay.io"\n',
    "no last newline": 'server = "https://quay.io"',
    "a table without a last newline": MIRROR.rstrip("\n"),
    "indented": f"  # here\n  {MIRROR}",
    "empty": "",
    "a comment": "# nothing yet\n",
    "lines of DOS": 'server = "https://quay.io"\r\n' + MIRROR.replace("\n", "\r\n"),
    "a table below a host": f'{MIRROR}  [host."https://cache.site.example".header]\n    x = "[y]"\n',
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_it_is_put_in_front_and_taken_out_to_the_byte(text: str) -> None:
    after = with_daemon(text, AT, "f")
    assert hosts_of(after) == [f"http://{AT}", *hosts_of(text)]
    assert tomllib.loads(after).get("server") == tomllib.loads(text).get("server")
    assert not is_set_up(text)
    assert is_set_up(after)
    assert without_daemon(after) == text
    assert with_daemon(after, AT, "f") == after
    assert hosts_of(with_daemon(after, "localhost:9091", "f"))[0] == "http://localhost:9091"
    assert without_daemon(with_daemon(after, "localhost:9091", "f")) == text


def test_a_new_file_is_removed_again_unless_somebody_has_added_to_it() -> None:
    made = with_daemon(None, AT, "f")
    assert tomllib.loads(made) == {
        "host": {f"http://{AT}": {"capabilities": ["pull", "resolve"], "dial_timeout": "1s"}}
    }
    assert without_daemon(made) is None
    assert with_daemon(made, AT, "f") == made
    assert with_daemon(made, "localhost:9091", "f").startswith(WHOLE)
    assert without_daemon(made + MIRROR) == MIRROR
    assert hosts_of(with_daemon(made + MIRROR, AT, "f")) == [f"http://{AT}", "https://cache.site.example"]


@pytest.mark.parametrize(
    "text",
    [
        "[host",
        'host = {"https://a.example" = {capabilities = ["pull"]}}\n',
        f'x = """\n[\n"""\n{MIRROR}',
    ],
)
def test_what_is_not_understood_is_left_alone(text: str) -> None:
    with pytest.raises(NotStarted, match="f is "):
        with_daemon(text, AT, "f")
