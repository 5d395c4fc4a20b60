"""`wavelet ensure`: one daemon, this user's, whoever and how many ask."""

from __future__ import annotations

import argparse
import asyncio
import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from doubles.registry import Registry
from lab.http import get
from lab.private import WAVELET, Private, alive
from lab.processes import wait_for
from wavelet import __version__
from wavelet.cli.commands import ensure
from wavelet.cli.main import main
from wavelet.cli.user_daemon import daemon as user_daemon
from wavelet.cli.user_daemon.daemon import location_of

CALLS = int(os.environ.get("WAVELET_CALLS", "60"))
"""How many call at one moment; `make soak` has 200."""

LIGHT = {
    "wavelet",
    "wavelet.cli",
    "wavelet.cli.argument_types",
    "wavelet.cli.commands",
    "wavelet.cli.commands.ensure",
    "wavelet.cli.main",
    "wavelet.cli.on_demand",
    "wavelet.cli.parser",
    "wavelet.cli.user_daemon",
    "wavelet.cli.user_daemon.daemon",
    "wavelet.daemon_status",
    "wavelet.errors",
    "wavelet.host",
    "wavelet.host.tcp_table",
    "wavelet.lazy_module",
    "wavelet.paths",
}
"""What of wavelet the path may import on which the daemon runs already."""


@pytest.fixture
def private(tmp_path: Path) -> Iterator[Private]:
    """Return the place of a daemon of a test's own, which ends with the test."""
    location = Private(tmp_path / "node")
    yield location
    location.end()


def test_one_of_another_version_is_named_and_can_be_ended(private: Private, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fault D15: a newer `wavelet ensure` was content with an older daemon, and nothing but `kill` ended it."""
    pid = private.ensure()["pid"]
    options = argparse.Namespace(shared_records="", verbose=False, quiet=False)
    said: list[str] = []
    monkeypatch.setattr(ensure, "_say", said.append)
    location = location_of(private.variables, str(private.directory), private.port)
    ensure.ensured_daemon(location, options, manager=False)
    assert said == []
    monkeypatch.setattr(ensure, "__version__", "99.0.0")
    ensure.ensured_daemon(location, options, manager=False)
    assert "`wavelet stop && wavelet ensure` replaces it" in said[0]
    assert __version__ in said[0]

    ended = private.call("stop")
    assert (ended.returncode, f"process {pid} (wavelet {__version__}) has ended" in ended.stdout) == (0, True), ended
    assert not private.runs()
    again = private.call("stop")
    assert (again.returncode, "none of your daemons runs" in again.stdout) == (0, True)


def test_stop_leaves_alone_what_is_no_daemon_of_this_user(
    private: Private, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(user_daemon, "ANSWER_LIMIT", 0.5)
    with socket.create_server(("127.0.0.1", private.port)):
        assert main(private.command("stop")[len(WAVELET) :]) == 1
    assert f"has port {private.port} and gives no answer" in capsys.readouterr().err


@pytest.mark.timeout(90)
def test_many_calls_at_once_start_one_daemon_and_all_find_it(private: Private) -> None:
    calls = [private.start("ensure") for _ in range(CALLS)]
    said = [call.communicate(timeout=60) for call in calls]
    assert {call.returncode for call in calls} == {0}, [error for _, error in said if error][:3]
    assert {out for out, _ in said} == {f"{private.endpoint}\n"}
    assert len(re.findall(r"\] serving +address=", private.log())) == 1
    status = private.status()
    assert (status["uid"], status["authority"]) == (os.getuid(), f"127.0.0.1:{private.port}")
    # It is detached: a session of its own, nothing of the caller's open, and not the caller's directory.
    pid = status["pid"]
    assert os.getsid(pid) == pid
    links = [str(Path(f"/proc/{pid}/{name}").readlink()) for name in ("cwd", "fd/0", "fd/2")]
    assert links == ["/", "/dev/null", str(private.directory / "daemon.log")]
    assert private.directory.stat().st_mode & 0o777 == 0o700

    imported = _imports(private, "ensure")
    assert {name for name in imported if name.partition(".")[0] == "wavelet"} <= LIGHT
    assert {name.partition(".")[0] for name in imported} - sys.stdlib_module_names <= {
        "wavelet",
        "org",
    }  # `copy` looks for Jython's

    records = private.call("ensure", "--shared-records", str(private.directory))
    assert records.returncode == 1
    assert "other nodes would not know its names" in records.stderr

    lines = private.call("ensure", "--export", "sh").stdout
    shell = subprocess.run(["sh", "-c", f"{lines}\nenv"], capture_output=True, text=True, check=True, env={})
    assert f"WAVE_API_ENDPOINT={private.endpoint}\n" in shell.stdout
    assert f"APPTAINER_CACHEDIR={private.directory}/cache\n" in shell.stdout


def _imports(private: Private, name: str) -> set[str]:
    """Return the modules that a command imports, without those of Python's own start."""
    python, *rest = private.command(name)
    begin = _imported([python, "-X", "importtime", "-c", "pass"], private)
    return _imported([python, "-X", "importtime", *rest], private) - begin


def _imported(command: list[str], private: Private) -> set[str]:
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=private.variables)
    return set(re.findall(r"^import time:.*\| +(\S+)$", done.stderr, re.MULTILINE))


def test_one_that_was_killed_in_a_pull_is_replaced_and_the_next_pull_succeeds(private: Private) -> None:
    layer = os.urandom(2_000_000)

    async def serve(started: threading.Event, over: threading.Event) -> None:
        async with Registry() as registry:
            registry.add_image("lab/tool", "1", [layer])
            registry.fault("/blobs/", rate=2_000_000)
            names.append(f"{registry.host}/lab/tool")
            started.set()
            await asyncio.to_thread(over.wait, 60)

    names: list[str] = []
    started, over = threading.Event(), threading.Event()
    thread = threading.Thread(target=lambda: asyncio.run(serve(started, over)))
    thread.start()
    try:
        assert started.wait(10)
        name = names[0].replace(":", "_")
        first = private.ensure()["pid"]
        manifest = get(f"{private.endpoint}/v2/{name}/manifests/1").json()
        digest = manifest["layers"][0]["digest"]
        broken: list[object] = []
        pull = threading.Thread(target=lambda: broken.append(_blob(private, name, digest)))
        pull.start()
        wait_for(lambda: any((private.directory / "state/partial").iterdir()), "a pull that has begun", 10)
        os.kill(first, signal.SIGKILL)
        pull.join(10)
        assert broken != [layer]
        second = private.ensure()["pid"]
        assert second != first
        assert not alive(first)
        assert len(_blob(private, name, digest) or b"") == manifest["layers"][0]["size"]
    finally:
        over.set()
        thread.join(10)


def _blob(private: Private, name: str, digest: str) -> bytes | None:
    try:
        return get(f"{private.endpoint}/v2/{name}/blobs/{digest}").body
    except (OSError, http.client.IncompleteRead):
        return None


def test_it_ends_when_idle_and_not_while_it_is_used(private: Private) -> None:
    started = private.call("ensure", "--verbose", "--quiet", "--idle", "0.8", SLURM_JOB_ID="77")
    assert started.stdout == ""
    assert "it ends with Slurm job 77" in started.stderr or "by the user manager" in started.stderr
    pid = private.status()["pid"]
    for _ in range(3):
        threading.Event().wait(0.4)
        private.status()
    assert alive(pid)
    wait_for(lambda: not alive(pid), "the end of an idle daemon", 10)
    assert "nobody has had need of this daemon" in private.log()


def test_what_listens_on_the_port_and_is_no_wavelet_is_named(private: Private) -> None:
    with socket.create_server(("127.0.0.1", private.port)) as server:
        answering = threading.Thread(target=_answer_once, args=(server,))
        answering.start()
        done = private.call("ensure")
        answering.join(10)
    assert done.returncode == 1
    assert re.search(rf"process {os.getpid()} .* has port {private.port} and is no wavelet of yours", done.stderr)
    assert "--port" in done.stderr


def _answer_once(server: socket.socket) -> None:
    connection, _ = server.accept()
    with connection:
        connection.recv(1000)
        connection.sendall(b"HTTP/1.0 200 OK\r\n\r\n{}")


_SQUATTER = """
import socket, sys, time
taken = socket.create_server(("127.0.0.1", int(sys.argv[1])))
print(flush=True)
time.sleep(60)
"""


@pytest.mark.users
def test_a_port_of_somebody_else_and_a_squatted_directory_are_refused(private: Private, tmp_path: Path) -> None:
    nobody = 65534
    squatter = ["/usr/bin/python3", "-c", _SQUATTER, str(private.port)]
    as_nobody = ["setpriv", f"--reuid={nobody}", f"--regid={nobody}", "--clear-groups", *squatter]
    with subprocess.Popen(as_nobody, stdout=subprocess.PIPE, cwd="/") as foreign:
        try:
            assert foreign.stdout is not None
            foreign.stdout.readline()
            done = private.call("ensure")
        finally:
            foreign.kill()
    assert done.returncode == 1
    assert f"belongs to process {foreign.pid} (python3) of user nobody (uid {nobody}), not to you" in done.stderr

    squatted = tmp_path / "squatted"
    squatted.mkdir()
    os.chown(squatted, nobody, nobody)
    link = tmp_path / "link"
    link.symlink_to(tmp_path)
    open_to_all = tmp_path / "open"
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    for path, why in (
        (squatted, f"belongs to uid {nobody} and not to you"),
        (link, "is not a directory"),
        (open_to_all, "can be written by others"),
    ):
        refused = subprocess.run(
            [*WAVELET, "ensure", "--port", str(private.port), "--directory", str(path)],
            check=False,
            env=private.variables,
            capture_output=True,
            text=True,
            timeout=20,
        )
        assert refused.returncode == 1
        assert why in refused.stderr
        assert "--directory" in refused.stderr
    assert not private.runs()


def test_a_daemon_that_does_not_start_says_why_to_all_who_wait_for_it(private: Private, tmp_path: Path) -> None:
    settings = tmp_path / "wrong.yaml"
    settings.write_text("stroe: {}\n")
    calls = [private.start("ensure", "--config", str(settings)) for _ in range(10)]
    said = [call.communicate(timeout=30)[1] for call in calls]
    assert {call.returncode for call in calls} == {1}
    assert all("the daemon does not start" in error and "stroe" in error for error in said)
    assert private.log().count("stroe") < len(calls)


def test_where_a_user_manager_runs_it_starts_the_daemon(private: Private, tmp_path: Path) -> None:
    runtime, programs = tmp_path / "runtime", tmp_path / "bin"
    (runtime / "systemd").mkdir(parents=True)
    (runtime / "systemd" / "private").touch()
    programs.mkdir()
    fake = programs / "systemd-run"
    fake.write_text(_SYSTEMD_RUN)
    fake.chmod(0o755)
    (programs / "systemctl").symlink_to("/bin/true")
    path = f"{programs}:{private.variables['PATH']}"
    done = private.call("ensure", "-v", PATH=path, XDG_RUNTIME_DIR=str(runtime), SECRET='a "b" $c\\', SLURM_JOB_ID="7")
    assert done.returncode == 0, done.stderr
    assert "by the user manager" in done.stderr
    arguments = (tmp_path / "bin" / "arguments").read_text()
    assert f"--unit=wavelet-{private.port}.service" in arguments
    assert "SECRET" not in arguments
    variables = private.directory / "daemon.env"
    assert variables.stat().st_mode & 0o777 == 0o600
    assert 'SECRET="a \\"b\\" \\$c\\\\"\n' in variables.read_text()


_SYSTEMD_RUN = """#!/bin/sh
printf '%s\\n' "$@" > "$(dirname "$0")/arguments"
while [ "$1" != -- ]; do
  case $1 in EnvironmentFile=*) file=${1#*=};; StandardOutput=append:*) log=${1#*append:};; esac
  shift
done
shift
set -a; . "$file"; set +a
setsid "$@" < /dev/null >> "$log" 2>&1 &
"""
