"""What a person or a script may do by mistake: bytes that are no text, streams that are not there, absurd numbers."""

from __future__ import annotations

import gzip
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from lab.command import Wavelet
from lab.daemon import environment
from lab.grpc_site import Site
from wavelet.cli.layer_files import pack

pytestmark = [pytest.mark.registry, pytest.mark.conda]

COMMAND = [sys.executable, "-m", "wavelet.cli.main"]
STOPPED = 1.0
"""Seconds for which a daemon does nothing, as on a node that is overloaded."""


def said(site: Site, command: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run a command in a shell, where `wavelet` is the command."""
    return subprocess.run(
        ["sh", "-c", 'wavelet() { "$0" -m wavelet.cli.main "$@"; }; ' + command, sys.executable],
        check=False,
        capture_output=True,
        input=stdin,
        timeout=30,
        env=environment({"WAVELET_SOCKET": site.user.removeprefix("unix:")}),
    )


def test_a_password_that_is_no_text_is_not_shown(site: Site) -> None:
    done = said(site, f"wavelet login {site.private.host} -u ann --password-stdin", b"pass\xffSECRET\n")
    assert done.returncode == 2
    assert b"SECRET" not in done.stdout + done.stderr
    assert b"UTF-8" in done.stderr


def test_a_defect_does_not_say_what_may_be_secret(wavelet: Wavelet, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> int:
        raise ValueError("SECRET")

    monkeypatch.setattr("wavelet.cli.commands.version.run", fail)
    done = wavelet("version")
    assert done.code == 70
    assert "SECRET" not in done.err
    assert "ValueError in test_edges.py:" in done.err


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("wavelet version >&-", 0),
        ("wavelet cache stats >/dev/full", 1),
        ("wavelet resolve -i a..b//c 2>&-", 4),
        ("wavelet login r.example -u ann <&-", 2),
        ("wavelet pull --file - <&-", 2),
    ],
)
def test_streams_that_are_not_there_or_full(site: Site, command: str, code: int) -> None:
    done = said(site, command)
    assert done.returncode == code
    assert b"defect" not in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["pull", "x", "--concurrency", "-1"],
        ["pull", "x", "--concurrency", "99999999999"],
        ["pull", "x", "--keep", "99999999999d"],
        ["cache", "gc", "--keep", "99999999TB"],
        ["login", "x", "--lifetime", "99999999999d"],
    ],
)
def test_numbers_beyond_all_bounds(wavelet: Wavelet, arguments: list[str]) -> None:
    assert wavelet(*arguments).code == 2


def test_a_daemon_that_is_slow_to_answer_is_waited_for(site: Site) -> None:
    os.kill(site.node.pid, signal.SIGSTOP)
    awake = threading.Timer(STOPPED, os.kill, (site.node.pid, signal.SIGCONT))
    awake.start()
    try:
        started = time.monotonic()
        done = said(site, "wavelet cache stats")
    finally:
        awake.join()
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - started >= STOPPED / 2


def test_a_layers_header_is_the_same_under_all_pythons(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    data = pack(tmp_path).data
    assert data[:10] == bytes.fromhex("1f8b08000000000002ff")
    assert gzip.decompress(data)


def test_files_and_directories_are_completed(site: Site, tmp_path: Path) -> None:
    (tmp_path / "wavelet.bash").write_bytes(said(site, "wavelet completion bash").stdout)
    (tmp_path / "images.txt").touch()
    (tmp_path / "layer").mkdir()
    for words, found in (("pull --file im", "images.txt"), ("resolve --layer la", "layer")):
        ask = f"cd {tmp_path}; . ./wavelet.bash; COMP_WORDS=(wavelet {words}); COMP_CWORD=3; _shtab_wavelet wavelet"
        done = subprocess.run(
            ["bash", "-c", ask + " ${COMP_WORDS[3]}; echo ${COMPREPLY[@]}"],
            check=True,
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert done.stdout.split() == [found]
