"""The directory that nodes share their locks through: read-only, of another key, or damaged."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from faulty import StartNode

from lab.disks import mounted

pytestmark = pytest.mark.registry


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[Path]:
    """Return a directory on a file system of its own, which a test may make read-only."""
    with mounted(tmp_path / "records") as place:
        yield place


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
    assert answer.status == 503
    assert f"the shared directory {shared} cannot be used: Read-only file system".encode() in answer.body
    assert second.daemon.get("/healthz").status == 200
    subprocess.run(["mount", "-o", "remount,rw", shared], check=True)
    assert second.digest("two") == expected[1]


def test_claims_of_another_key_and_damaged_ones(tmp_path: Path, start: StartNode, calm: Callable[..., str]) -> None:
    """A lock that somebody else wrote is none, nor is one that is empty or forged: it is solved for anew."""
    asked = [("part003", "one"), ("one",), ("two",)]
    expected = [calm(*specs) for specs in asked]
    shared = tmp_path / "shared"
    shared.mkdir()
    records = {"directory": str(shared)}
    first = start("first", more={"records": records})
    assert [first.digest(*specs) for specs in asked] == expected
    key = tmp_path / "another.key"
    other = start("other", more={"records": records | {"key_file": str(key)}})
    assert key.exists()
    assert other.digest(*asked[0]) == expected[0]
    assert "a claim is not authentic" in other.daemon.log()
    first.daemon.stop()
    assert len(claims(shared)) >= len(asked)
    for number, path in enumerate(claims(shared)):
        path.write_bytes((b"", b"0" * 64 + b"\n{}")[number % 2])
    first.daemon.start()
    assert [first.digest(*specs) for specs in asked] == expected
    assert other.digest(*asked[1]) == expected[1]


def test_a_claim_that_cannot_be_read_or_replaced(tmp_path: Path, start: StartNode, calm: Callable[..., str]) -> None:
    """Who has the lock goes on; who has not says which directory it is."""
    expected = calm("one")
    shared = tmp_path / "shared"
    shared.mkdir()
    more = {"records": {"directory": str(shared)}, "upstream": {"patience": 2}}
    first, second = (start(name, more=more) for name in ("first", "second"))
    assert first.digest("one") == expected
    for shard in {path.parent for path in claims(shared)}:
        shutil.rmtree(shard)
        shard.write_bytes(b"")
    assert first.digest("one") == expected
    answer = second.pull("one")
    assert answer.status == 503
    assert f"the shared directory {shared} cannot be used".encode() in answer.body
