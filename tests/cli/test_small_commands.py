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


def test_an_unknown_command_is_a_usage_error() -> None:
    said = call("stauts")
    assert said.returncode == 2
    assert "status" in said.stderr


def test_a_uid_that_has_no_name_and_no_home(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(uid: int) -> None:
        raise KeyError(uid)

    monkeypatch.setenv("HOME", "kept for the end of the test")
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    assert main(["config", "check"]) == 0
