"""Two real users of one node: each its own daemon, at its own port, with directories that the other cannot read."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from lab.daemon import environment
from lab.http import get
from lab.private import WAVELET, alive
from lab.processes import run, wait_for
from lab.users import User, passable_directory
from wavelet.paths import node_directory, private_port

pytestmark = pytest.mark.users


@pytest.fixture
def users() -> Iterator[list[User]]:
    """Return two users; their daemons and directories go with them."""
    with ExitStack() as stack:
        made = []
        for suffix in "ab":
            user = User.create(suffix)
            stack.callback(user.remove)
            stack.callback(shutil.rmtree, node_directory(user.uid), ignore_errors=True)
            made.append(user)
        yield made


def _start(user: User, *arguments: str) -> subprocess.Popen[str]:
    variables = {name: value for name, value in environment({}).items() if name != "XDG_RUNTIME_DIR"}
    return subprocess.Popen(
        [*user.prefix(), *WAVELET, *arguments],
        cwd="/",
        env=variables | {"HOME": str(user.home), "USER": user.name},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_each_user_gets_a_daemon_and_neither_the_others(users: list[User]) -> None:
    first, second = users
    calls = [_start(user, "ensure") for user in users for _ in range(3)]
    said = [call.communicate(timeout=60) for call in calls]
    assert {call.returncode for call in calls} == {0}, said
    pids = []
    try:
        for user, (out, _) in zip((first, second), said[::3], strict=True):
            assert out == f"http://127.0.0.1:{private_port(user.uid)}\n"
            status = get(f"{out.strip()}/statusz").json()
            pids.append(status["pid"])
            assert (status["uid"], Path(f"/proc/{status['pid']}").stat().st_uid) == (user.uid, user.uid)
            assert Path(node_directory(user.uid)).stat().st_mode & 0o777 == 0o700
        taken = _start(second, "ensure", "--port", str(private_port(first.uid)))
        _, error = taken.communicate(timeout=20)
        assert taken.returncode == 1
        assert f"of user {first.name} (uid {first.uid}), not to you; choose another port with --port" in error
    finally:
        for pid in pids:
            os.kill(pid, 15)
        for pid in pids:
            wait_for(lambda pid=pid: not alive(pid), f"the end of process {pid}", 10)  # type: ignore[misc]


def test_who_only_runs_sif_files_need_not_write_to_their_directory(users: list[User]) -> None:
    code = "import sys; from wavelet.cli.doctor.facts import shared; print(shared(sys.argv[1], writes=False).error)"
    with passable_directory() as directory:
        said = []
        for mode in (0o755, 0o700):
            directory.chmod(mode)
            done = run([*users[0].prefix(), WAVELET[0], "-c", code, str(directory)])
            said.append(done.stdout.strip())
    assert said == ["", "this user cannot read it"]
