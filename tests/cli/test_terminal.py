"""Commands on a terminal, and ended from one: bars, colours, a prompt, Ctrl-C, and readers that go away."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import pytest

from lab.daemon import environment
from lab.grpc_site import Site
from lab.processes import wait_for
from lab.registry import PASSWORDS
from wavelet.client import Client

pytestmark = [pytest.mark.registry, pytest.mark.conda]

COMMAND = [sys.executable, "-m", "wavelet.cli.main"]
WITH_TERMINAL = """
import fcntl, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
from wavelet.cli.main import main
sys.exit(main())
"""
"""The command in a session whose terminal is its standard input: passwords are asked for at the session's terminal."""
LIMIT = 20.0
COLOUR = re.compile(r"\x1b\[(?:\d+;)*(?:3\d|38;[\d;]+|9\d)m")
BAR = "━"


@dataclass(frozen=True)
class Shown:
    """What a command has left on a terminal, its standard output, which is none, and its exit code."""

    screen: str
    out: str
    code: int


def on_terminal(
    site: Site,
    *arguments: str,
    keys: Callable[[str], str] = lambda _: "",
    variables: Mapping[str, str] = MappingProxyType({}),
) -> Shown:
    """Run a command with a terminal as its standard input and error.

    Args:
        site: whose daemon it calls.
        arguments: the command's.
        keys: returns what is typed next, from what is on the screen.
        variables: of its environment, besides those it needs.
    """
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-c", WITH_TERMINAL, *arguments],
        stdin=slave,
        stdout=subprocess.PIPE,
        stderr=slave,
        env=environment(
            {"WAVELET_SOCKET": site.user.removeprefix("unix:"), "TERM": "xterm-256color"} | dict(variables)
        ),
        start_new_session=True,
    )
    os.close(slave)
    try:
        screen = _read(master, keys)
        out, _ = process.communicate(timeout=LIMIT)
    finally:
        process.kill()
        os.close(master)
    return Shown(screen, out.decode(), process.returncode)


def _read(master: int, keys: Callable[[str], str]) -> str:
    screen, end = b"", time.monotonic() + LIMIT
    while time.monotonic() < end and select.select([master], [], [], LIMIT)[0]:
        try:
            more = os.read(master, 65536)
        except OSError:  # the other end is closed
            break
        screen += more
        os.write(master, keys(screen.decode("utf-8", "replace")).encode())
    return screen.decode("utf-8", "replace")


@pytest.mark.parametrize("plain", [False, True])
def test_bars_on_a_terminal_with_colours_unless_they_are_unwanted(site: Site, plain: bool) -> None:
    shown = on_terminal(site, "pull", site.image, "conda/htslib:1.17", variables={"NO_COLOR": "1"} if plain else {})
    assert shown.code == 0
    assert BAR in shown.screen
    assert "2 of 2" in shown.screen
    assert f"{site.image}: there" in shown.screen
    assert shown.out.splitlines()[0] == f"{site.image}  {site.busybox.digest}"
    assert bool(COLOUR.search(shown.screen)) is not plain


def test_bars_of_packages(site: Site) -> None:
    site.channel.fault(r"shown-.*\.conda", delay=0.5)
    shown = on_terminal(site, "resolve", "--conda-package", "shown", "--await")
    assert shown.code == 0
    assert "making layers" in shown.screen
    assert BAR in shown.screen
    assert shown.out.startswith(f"{site.node.authority}/wt/")


def test_no_bars_on_a_terminal_that_has_none(site: Site) -> None:
    shown = on_terminal(site, "pull", site.image, variables={"TERM": "dumb"})
    assert BAR not in shown.screen
    assert "\x1b" not in shown.screen
    assert f"{site.image}: there" in shown.screen


def test_a_password_is_asked_for_and_not_shown(site: Site) -> None:
    typed: list[str] = []

    def keys(screen: str) -> str:
        if typed or "Password of ann" not in screen:
            return ""
        typed.append(PASSWORDS["ann"] + "\n")
        return typed[0]

    shown = on_terminal(site, "login", site.private.host, "--username", "ann", keys=keys)
    assert shown.code == 0, shown.screen
    assert PASSWORDS["ann"] not in shown.screen
    with Client(site.user) as client:
        assert client.logout(site.private.host).count == 1


def test_ctrl_c_ends_the_call_and_the_work(site: Site) -> None:
    fault = site.channel.fault(r"interrupted-.*\.conda", stall=100)
    process = started(site, "conda", "image", "interrupted")
    try:
        wait_for(lambda: fault.hits == 1, "the fetch", LIMIT)
        time.sleep(0.5)  # the packages may be known before the call is answered: it watches by then
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=LIMIT)
    finally:
        process.kill()
    assert process.returncode == 130
    assert out == b""
    assert b"Traceback" not in err
    with Client(site.user) as client:
        wait_for(lambda: client.status().jobs == 0, "the end of the work", LIMIT)
    site.channel.clear_faults()


def test_a_time_that_is_over(site: Site) -> None:
    site.channel.fault(r"unread-.*\.conda", stall=100)
    process = started(site, "conda", "image", "unread", "--timeout", "1s")
    _, err = process.communicate(timeout=LIMIT)
    site.channel.clear_faults()
    assert process.returncode == 1
    assert b"the time that this call was given is over" in err


def test_a_reader_that_goes_away(site: Site) -> None:
    process = started(site, "cache", "stats", "-o", "json")
    assert process.stdout is not None
    process.stdout.close()
    _, err = process.communicate(timeout=LIMIT)
    assert process.returncode == 141
    assert err == b""


def started(site: Site, *arguments: str) -> subprocess.Popen[bytes]:
    """Start a command whose output goes to pipes."""
    return subprocess.Popen(
        [*COMMAND, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment({"WAVELET_SOCKET": site.user.removeprefix("unix:")}),
    )
