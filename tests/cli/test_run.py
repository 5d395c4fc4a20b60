"""`wavelet run`: the command's own exit code and signals, the environment, and a daemon that ends with the last one."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.private import WAVELET, Private, alive
from lab.processes import wait_for
from wavelet.cli.user_daemon.exports import engine_of

_HASTY = """
import sys
import wavelet.cli.commands.run as run
from wavelet.cli.main import main
run.LOOK_INTERVAL = 0.2
sys.exit(main())
"""


@pytest.fixture
def private(tmp_path: Path) -> Iterator[Private]:
    """Return the place of a daemon of a test's own, which ends with the test."""
    place = Private(tmp_path / "node")
    yield place
    place.end()


def test_environment_and_exit_code_pass_and_the_daemon_ends_with_the_command(private: Private, tmp_path: Path) -> None:
    code = "env; curl -fs $WAVE_API_ENDPOINT/statusz; exit 7"
    shared = tmp_path / "shared" / "images"
    done = private.call("run", "--images", str(shared), "--", "sh", "-c", code, APPTAINER_CACHEDIR="/mine")
    assert done.returncode == 7
    lines = done.stdout.splitlines()
    assert {
        f"WAVE_API_ENDPOINT={private.endpoint}",
        "APPTAINER_NOHTTPS=true",
        "SINGULARITY_NOHTTPS=true",
        "APPTAINER_CACHEDIR=/mine",
        f"SINGULARITY_CACHEDIR={private.directory}/cache",
        f"NXF_APPTAINER_CACHEDIR={shared}",
        f"WAVELET_SOCKET={private.directory}/wavelet.sock",
    } <= set(lines)
    assert f'"address": "127.0.0.1:{private.port}"' in lines[-1]
    assert shared.is_dir()
    assert not private.runs()
    assert private.call("run", "--", "no-such-command").returncode == 127
    assert private.call("run", "--").returncode == 2
    assert not private.runs()


def test_signals_pass_and_the_last_command_ends_the_daemon(private: Private, tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    script = f"trap 'echo got TERM; exit 5' TERM; touch {ready}; while :; do sleep 0.05; done"
    first = private.start("run", "--", "sh", "-c", script)
    wait_for(ready.exists, "the first command", 20)
    pid = private.status()["pid"]
    second = private.start("run", "--", "sleep", "60")
    wait_for(lambda: _has_child(second), "the second command", 20)
    first.send_signal(signal.SIGTERM)
    assert first.communicate(timeout=20)[0] == "got TERM\n"
    assert first.returncode == 5
    assert alive(pid)  # the second command needs it
    second.send_signal(signal.SIGINT)
    second.communicate(timeout=20)
    assert second.returncode == 128 + signal.SIGINT
    assert not alive(pid)


def _has_child(process: subprocess.Popen[str]) -> bool:
    return (
        "sleep"
        in subprocess.run(
            ["ps", "-o", "comm=", "--ppid", str(process.pid)], check=False, capture_output=True, text=True
        ).stdout
    )


def test_a_daemon_that_ran_before_goes_on_and_one_that_is_gone_is_started_again(private: Private) -> None:
    pid = private.ensure()["pid"]
    assert private.call("run", "--", "true").returncode == 0
    assert alive(pid)

    # What a terminal sends goes to the command by itself, and must not come twice.
    master, slave = pty.openpty()
    script = "trap 'echo interrupted' INT; echo ready; sleep 0.5; sleep 0.1; exit 3"
    command = ["setsid", "--ctty", "--wait", *private.command("run", "--", "sh", "-c", script)]
    with subprocess.Popen(command, env=private.variables, stdin=slave, stdout=slave, stderr=slave) as running:
        os.close(slave)
        said = os.read(master, 1000)
        os.write(master, b"\x03")
        assert running.wait(20) == 3
        with contextlib.suppress(OSError):
            while more := os.read(master, 1000):
                said += more
    os.close(master)
    assert said.count(b"interrupted") == 1

    again = f"kill -9 {pid}; until curl -fs $WAVE_API_ENDPOINT/statusz; do sleep 0.05; done"
    command = [sys.executable, "-c", _HASTY, *private.command("run", "--", "sh", "-c", again)[len(WAVELET) :]]
    done = subprocess.run(command, check=False, env=private.variables, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["pid"] != pid
    assert not private.runs()


def test_for_apptainer_the_endpoint_asks_for_sif_files(private: Private, tmp_path: Path) -> None:
    script = "printenv WAVE_API_ENDPOINT; tr '\\0' '\\n' < /proc/$(cat $0)/environ"
    command = ("sh", "-c", script, str(private.directory / "state" / "lock"))
    shared = str(tmp_path / "images")
    lines = private.call("run", "--engine", "apptainer", "--images", shared, "--", *command).stdout.splitlines()
    assert lines[0] == f"{private.endpoint}/sif"
    assert f"WAVELET_SIF_DIRECTORY={shared}" in lines, "the daemon that was started puts them there"
    refused = private.call("run", "--images", "/dev/null/images", "--", "true")
    assert (refused.returncode, "sif.directory: /dev/null" in refused.stderr) == (1, True)
    done = private.call("run", "--images", os.path.relpath(shared), "--", "printenv", "NXF_APPTAINER_CACHEDIR")
    assert Path(done.stdout.strip()).is_absolute(), "tasks do not run where the command was started"
    done = private.call("run", "--engine", "docker", "--", "printenv", "WAVE_API_ENDPOINT")
    assert done.stdout == f"{private.endpoint}\n"
    exported = private.call("ensure", "--engine", "singularity", "--export", "sh", "-v")
    assert f"export WAVE_API_ENDPOINT={private.endpoint}/sif\n" in exported.stdout
    assert "SIF files, for singularity" in exported.stderr


@pytest.mark.parametrize(
    ("programs", "engine"),
    [
        (("apptainer",), "apptainer"),
        (("apptainer", "singularity"), "apptainer"),
        (("singularity",), "singularity"),
        (("docker", "apptainer"), ""),
        (("podman", "singularity"), ""),
        ((), ""),
    ],
)
def test_sif_files_are_the_default_where_no_other_engine_is(
    programs: tuple[str, ...], engine: str, tmp_path: Path
) -> None:
    for name in programs:
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    assert engine_of("", {"PATH": str(tmp_path)}) == engine
    assert engine_of("docker", {"PATH": str(tmp_path)}) == "docker"
