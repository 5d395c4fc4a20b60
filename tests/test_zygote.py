"""What a zygote forks is what is started: the same output, end and environment, and another process each time."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from lab import processes, zygote
from lab.daemon import Daemon, environment
from lab.processes import Background

pytestmark = pytest.mark.process


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (("--version",), 0),
        (("config", "show", "--config", "settings.yaml"), 0),
        (("serve", "--listen", "nowhere"), 2),
        (("serv",), 2),
    ],
)
def test_it_says_and_ends_as_what_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], status: int
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("settings.yaml").write_text("grace_period: 7\n")
    said = []
    for name, begin in (("started", processes.start), ("forked", zygote.fork)):
        made = Background(
            [*zygote.PROGRAM, *arguments], tmp_path / name, environment({"WAVELET_STORE_LIMIT": "3GB"}), begin
        )
        assert made.process.wait(20) == status
        said.append(made.log())
    assert said[0] == said[1] != ""


def test_it_has_a_session_and_an_end_of_its_own(start_daemon: Callable[..., Daemon], tmp_path: Path) -> None:
    one, other = start_daemon(tmp_path / "one"), start_daemon(tmp_path / "other")
    assert os.getsid(one.pid) == one.pid != other.pid
    one.kill()
    assert not one.running()
    assert one._process is not None
    assert one._process.process.returncode == -signal.SIGKILL
    assert other.get("/readyz").status == 200
    assert other.stop() == 0


def test_another_follows_one_that_is_asked_no_more(start_daemon: Callable[..., Daemon], tmp_path: Path) -> None:
    before = start_daemon(tmp_path / "before")
    for each in zygote._zygotes.values():
        each.close()
    assert start_daemon(tmp_path / "after").get("/readyz").status == 200
    assert before.running()
    assert before.stop() == 0


def test_what_is_read_before_imports_is_started(tmp_path: Path) -> None:
    assert zygote.may_fork([*zygote.PROGRAM, "serve"], {"WAVELET_STORE_LIMIT": "1GB", "TMPDIR": str(tmp_path)})
    assert not zygote.may_fork([*zygote.PROGRAM, "serve"], {"PYTHONUTF8": "1"})
    assert not zygote.may_fork(["unshare", *zygote.PROGRAM, "serve"], {})


def test_who_measures_has_its_daemons_started(monkeypatch: pytest.MonkeyPatch) -> None:
    assert zygote.may_fork(zygote.PROGRAM, {})
    monkeypatch.setattr(zygote, "COUNT", 0)
    assert not zygote.may_fork(zygote.PROGRAM, {})
