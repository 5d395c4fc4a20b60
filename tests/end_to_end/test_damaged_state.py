"""Starts on a state directory that is damaged, or full: what can be had again is begun anew, the rest is said."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lab.daemon import Daemon, environment
from lab.disks import mounted
from lab.processes import run

SERVE = [sys.executable, "-m", "wavelet.cli.main", "serve"]


def refusal(state: Path, port: int) -> str:
    """Return what `wavelet serve` says when it does not start."""
    command = [*SERVE, "--listen", f"127.0.0.1:{port}", "--state", state]
    done = run(command, environment=environment({}), seconds=30, check=False)
    said = done.stdout + done.stderr
    assert done.returncode not in (0, None), said
    assert "Traceback" not in said
    assert "defect" not in said
    return said


def test_a_damaged_cache_does_not_prevent_a_start(start_daemon: Callable[..., Daemon], state_dir: Path) -> None:
    """Fault G7: `node.db` garbage: "a defect: DatabaseError", no start."""
    daemon = start_daemon()
    daemon.stop()
    (state_dir / "node.db").write_bytes(os.urandom(50_000))
    daemon.start()
    assert daemon.get("/readyz").status == 200
    assert "node.db.damaged" in daemon.log()
    assert "Traceback" not in daemon.log()


def test_damaged_records_are_said_at_the_start(
    start_daemon: Callable[..., Daemon], state_dir: Path, free_port: int
) -> None:
    """Fault G7: `records.db` with garbage pages: it started, and answered 500."""
    start_daemon().stop()
    path = state_dir / "records.db"
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(path.stat().st_size - 4096))
    said = refusal(state_dir, free_port)
    assert str(path) in said
    assert "move it away to begin anew" in said
    path.unlink()
    start_daemon()


def test_rubbish_does_not_prevent_a_start(start_daemon: Callable[..., Daemon], state_dir: Path) -> None:
    """Fault G7: every place that a start looks at."""
    daemon = start_daemon()
    daemon.stop()
    for place in ("blobs/sha256/aa", "partial", "."):
        (state_dir / place / "rubbish" / "deep").mkdir(parents=True)
        (state_dir / place / "rubbish" / "deep" / "file").write_bytes(b"rubbish")
        os.mkfifo(state_dir / place / "pipe")
        (state_dir / place / "link").symlink_to("/nonexistent")
    (state_dir / "lock").write_bytes(b"\xff\xfe")
    daemon.start()
    assert daemon.get("/readyz").status == 200


@pytest.mark.parametrize("name", ["blobs", "partial", "trash", "grpc", "lock", "cluster.key"])
def test_something_else_in_a_place_of_the_state_is_said(state_dir: Path, free_port: int, name: str) -> None:
    """Fault G7: a file where there should be a directory, and the other way round."""
    state_dir.mkdir()
    if name in ("lock", "cluster.key"):
        (state_dir / name).mkdir()
    else:
        (state_dir / name).write_bytes(b"no directory")
    said = refusal(state_dir, free_port)
    assert name in said
    assert ("it has to be a directory" in said) == (state_dir / name).is_file()


def test_a_full_disk_is_said(tmp_path: Path, free_port: int) -> None:
    """Fault G7: a start on a full tmpfs."""
    with mounted(tmp_path / "disk", "1m") as place:
        with pytest.raises(OSError), (place / "filler").open("wb") as file:
            while True:
                file.write(bytes(4096))
        assert "is full" in refusal(place / "state", free_port)
        (place / "filler").unlink()
        (place / "state").mkdir(exist_ok=True)
        with pytest.raises(OSError), (place / "filler").open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        assert "is full" in refusal(place / "state", free_port)
