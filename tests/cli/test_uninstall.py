"""`wavelet uninstall`: what it lists is what there is; what is not wavelet's stays."""

from __future__ import annotations

import fcntl
import subprocess
from pathlib import Path

from lab.daemon import Daemon
from lab.private import Private, alive


def test_it_lists_ends_and_removes_what_wavelet_wrote_and_nothing_else(tmp_path: Path) -> None:
    temporary, shared, sifs = tmp_path / "tmp", tmp_path / "shared", tmp_path / "sif"
    left_over = temporary / "wavelet-demo-abcdefgh"
    left_over.mkdir(parents=True)
    (temporary / "wavelet-logs").mkdir()
    settings = tmp_path / "settings.yaml"
    settings.write_text(
        f"records: {{directory: {shared}}}\nsif: {{directory: {sifs}}}\nstate: {tmp_path / 'node-state'}\n"
    )
    private = Private(tmp_path / "node", TMPDIR=str(temporary))
    try:
        pid = private.ensure("--config", str(settings))["pid"]
        (private.directory / "notes.txt").write_text("mine")
        asked = ("--config", str(settings))
        shown = private.call("uninstall", "--dry-run", *asked)
        assert shown.returncode == 0, shown.stderr
        written, _, left = shown.stdout.partition("left, for")
        for path in (private.directory / "state", private.directory / "daemon.log", left_over):
            assert f"  {path}\n" in written
        for path in (shared, sifs, settings, private.directory / "notes.txt"):
            assert f"  {path} " in left
        assert "wavelet-logs" not in shown.stdout
        assert alive(pid)

        assert private.call("uninstall", *asked).returncode == 2  # nobody there to say yes
        assert alive(pid)
        done = private.call("uninstall", "--yes", *asked)
        assert done.returncode == 0, done.stderr
    finally:
        private.end()
    assert not alive(pid)
    assert [path.name for path in private.directory.iterdir()] == ["notes.txt"]
    assert sorted(path.name for path in temporary.iterdir()) == ["wavelet-logs"]
    assert any(shared.iterdir())
    assert any(sifs.iterdir())


def test_a_state_directory_that_a_daemon_holds_is_not_touched(tmp_path: Path) -> None:
    state = tmp_path / "state"
    (state / "blobs").mkdir(parents=True)
    with (state / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = Private(tmp_path / "node").call("uninstall", "--yes", "--state", str(state))
    assert done.returncode == 1
    assert f"a daemon runs with {state}" in done.stderr
    assert (state / "blobs").exists()


def test_nothing_is_left_of_a_daemons_state(daemon: Daemon, tmp_path: Path) -> None:
    """Fault G1: what was made in an image can be deeper than recursion goes."""
    assert daemon.stop() == 0
    subprocess.run(["mkdir", "-p", "d/" * 1200], cwd=daemon.state / "partial", check=True)
    done = Private(tmp_path / "node").call("uninstall", "--yes", "--state", str(daemon.state))
    assert done.returncode == 0, done.stderr
    assert not daemon.state.exists()
