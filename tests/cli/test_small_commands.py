"""status, version, config and completion, as they are called."""

from __future__ import annotations

import json
import pwd
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from lab.daemon import Daemon, environment
from lab.ports import free_port
from wavelet.cli.main import main

WAVELET = [sys.executable, "-m", "wavelet.cli.main"]
QUICK = {"aiohttp", "asyncio", "grpc", "http", "msgspec", "rich", "structlog", "urllib", "yaml"}


def call(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*WAVELET, *arguments], check=False, capture_output=True, text=True, timeout=30, env=environment(variables)
    )


def test_status_of_a_daemon(daemon: Daemon) -> None:
    said = call("status", "--address", daemon.authority)
    assert said.returncode == 0
    assert f"process {daemon.pid} of uid" in said.stdout
    assert f"http://{daemon.authority}" in said.stdout
    state = json.loads(call("status", "--address", daemon.authority, "-o", "json").stdout)
    assert state["authority"] == daemon.authority
    assert yaml.safe_load(call("status", "--address", daemon.authority, "-o", "yaml").stdout)["pid"] == daemon.pid


def test_a_socket_that_is_named_is_the_daemon_that_is_asked(daemon: Daemon) -> None:
    """Fault D10: with `WAVELET_SOCKET` set, `status` and `doctor` asked another address."""
    socket = str(daemon.state / "wavelet.sock")
    plain = json.loads(call("status", "--address", daemon.authority, "-o", "json").stdout)
    named = json.loads(call("status", "-o", "json", WAVELET_SOCKET=socket).stdout)
    assert named.keys() == plain.keys()
    assert (named["pid"], named["address"], named["store"]) == (daemon.pid, daemon.authority, plain["store"])
    found = {each["check"]: each for each in json.loads(call("doctor", "-o", "json", WAVELET_SOCKET=socket).stdout)}
    assert f"process {daemon.pid} " in found["daemon"]["message"]
    assert socket in found["socket"]["message"]
    absent = call("status", WAVELET_SOCKET=f"{socket}.absent")
    assert absent.returncode == 3
    assert f"{socket}.absent" in absent.stderr


def test_status_without_a_daemon() -> None:
    said = call("status", "--address", f"127.0.0.1:{free_port()}")
    assert said.returncode == 3
    assert "no daemon answers" in said.stderr
    assert "wavelet serve" in said.stderr


def test_status_imports_little() -> None:
    program = "import sys; sys.argv = ['wavelet', 'status', '--address', '127.0.0.1:1']; "
    program += "from wavelet.cli.main import main; main(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=30)
    assert QUICK & {name.partition(".")[0] for name in done.stdout.split()} == set()


def test_config_check_names_the_near_key(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("upstream:\n  tag_tll: 5\n")
    said = call("config", "check", "--config", str(path))
    assert said.returncode == 2
    assert str(path) in said.stderr
    assert "tag_ttl" in said.stderr
    path.write_text("upstream:\n  tag_ttl: 5\n")
    assert call("config", "check", "--config", str(path)).returncode == 0


def test_config_show_is_a_file_of_settings(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("upstream:\n  tag_ttl: 5\n")
    shown = call("config", "show", "--config", str(path), WAVELET_LOG_LEVEL="warning").stdout
    assert yaml.safe_load(shown)["upstream"]["tag_ttl"] == 5
    assert yaml.safe_load(shown)["log_level"] == "warning"
    origins = call("config", "show", "--origins", "--config", str(path), WAVELET_LOG_LEVEL="warning").stdout
    assert f"upstream.tag_ttl: {path}\n" in origins
    assert "log_level: WAVELET_LOG_LEVEL\n" in origins


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_completion_completes(tmp_path: Path) -> None:
    script = tmp_path / "wavelet.bash"
    script.write_text(call("completion", "bash").stdout)
    ask = f". {script}; COMP_WORDS=(wavelet sta); COMP_CWORD=1; _shtab_wavelet wavelet sta; echo ${{COMPREPLY[@]}}"
    done = subprocess.run(["bash", "-c", ask], check=True, capture_output=True, text=True, timeout=30)
    assert "status" in done.stdout.split()


@pytest.mark.parametrize(
    ("arguments", "near"),
    [(["stauts"], "status"), (["cache", "lst"], "ls"), (["status", "-o", "jsn"], "json")],
)
def test_what_is_mistyped_gets_the_near_word(
    arguments: list[str], near: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Fault F7: a mistyped command got no suggestion; nor did values of options."""
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2
    assert f"did you mean {near}?" in capsys.readouterr().err


def test_a_limit_that_is_no_number_is_said_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["requests", "-n", "x"])
    assert end.value.code == 2
    assert "it takes a number above 0" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["stop", "--port", "99999"], "is not a port from 1024 to 65535"),
        (["doctor", "--port", "0"], "is not a port from 1024 to 65535"),
        (["uninstall", "--port", "x"], "is not a port from 1024 to 65535"),
        (["status", "--address", "nonsense"], "is not HOST:PORT"),
        (["status", "--address", "127.0.0.1:99999"], "is not HOST:PORT"),
    ],
)
def test_what_is_no_port_is_said(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2
    assert said in capsys.readouterr().err


def test_alone_it_prints_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    """Fault F7: bare `wavelet` said that COMMAND is missing."""
    with pytest.raises(SystemExit) as end:
        main([])
    assert end.value.code == 0
    assert "doctor" in capsys.readouterr().out


def test_a_uid_that_has_no_name_and_no_home(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(uid: int) -> None:
        raise KeyError(uid)

    monkeypatch.setenv("HOME", "kept for the end of the test")
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    assert main(["config", "check"]) == 0
