"""The directory that nodes share their locks through: read-only, of another key, or damaged."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from faulty import StartNode

pytestmark = pytest.mark.registry


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[Path]:
    """Return a directory on a file system of its own, which a test may make read-only."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to mount a file system")
    place = tmp_path / "records"
    place.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "tmpfs", place], capture_output=True, check=False)
    if made.returncode:
        pytest.skip(f"cannot mount a file system here: {made.stderr.decode().strip()}")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def claims(shared: Path) -> list[Path]:
    """Return the files of all claims."""
    return [path for path in (shared / "claims").glob("*/*") if path.is_file()]


def test_read_only(shared: Path, start: StartNode, calm: Callable[..., str]) -> None:
    """What was asked before is answered by every node; what is new is refused, and works when it can be written."""
    expected = calm("one"), calm("two")
    first = start("first", more={"records": {"directory": str(shared)}})
    name = first.name("one")
    assert first.digest("one") == expected[0]
    second = start("second", more={"records": {"directory": str(shared)}})
    subprocess.run(["mount", "-o", "remount,ro", shared], check=True)
    assert second.pull_named(name) == expected[0]
    answer = second.pull("two")
    assert answer.status == 500
    assert f"the shared directory {shared} cannot be used: Read-only file system".encode() in answer.body
    assert second.daemon.get("/healthz").status == 200
    subprocess.run(["mount", "-o", "remount,rw", shared], check=True)
    assert second.digest("two") == expected[1]


def test_claims_of_another_key(tmp_path: Path, start: StartNode, calm: Callable[..., str]) -> None:
    """A lock that somebody else wrote is none: it is solved for anew, and said so in the log."""
    expected = calm("part003", "one")
    shared = tmp_path / "shared"
    shared.mkdir()
    first = start("first", more={"records": {"directory": str(shared)}})
    assert first.digest("part003", "one") == expected
    first.daemon.stop()
    key = tmp_path / "another.key"
    other = start("other", more={"records": {"directory": str(shared), "key_file": str(key)}})
    assert key.exists()
    assert other.digest("part003", "one") == expected
    assert "a claim is not authentic" in other.daemon.log()


@pytest.mark.parametrize("damage", [b"", b"0" * 64 + b"\n{}", None])
def test_claims_that_are_damaged(
    tmp_path: Path, start: StartNode, calm: Callable[..., str], damage: bytes | None
) -> None:
    """Empty, forged, or a directory in a claim's place, which no node can read or replace."""
    expected = calm("part003", "one")
    shared = tmp_path / "shared"
    shared.mkdir()
    first = start("first", more={"records": {"directory": str(shared)}})
    assert first.digest("part003", "one") == expected
    first.daemon.stop()
    assert claims(shared)
    for path in claims(shared):
        path.unlink()
        path.mkdir() if damage is None else path.write_bytes(damage)
    first.daemon.start()
    assert first.digest("part003", "one") == expected
    second = start("second", more={"records": {"directory": str(shared)}})
    answer = second.pull("part003", "one")
    if damage is None:
        assert answer.status == 500
        assert b"the shared directory" in answer.body
    else:
        assert answer.headers["docker-content-digest"] == expected
