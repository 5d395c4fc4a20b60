"""Stores and disks that are too small: what does not fit is refused with a sentence, and made once there is room."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from faulty import PARTS, StartNode, at_once

from lab.conda_asks import CondaSite
from lab.disks import mounted

pytestmark = pytest.mark.registry


def test_a_store_without_room(start: StartNode, calm: Callable[..., str]) -> None:
    expected = calm("parts"), calm("one")
    small = start(more={"store": {"limit": "3MB"}})
    answer = small.pull("parts")
    assert answer.status == 507, answer
    error = answer.json()["errors"][0]
    assert "store.limit" in error["message"], error
    assert error["detail"]["fault"] == "wavelet"
    small.settle()
    assert small.digest("one") == expected[1]
    small.daemon.stop()
    large = small.again(more={"store": {"limit": "200MB"}})
    try:
        assert large.digest("parts") == expected[0]
        assert large.digest("one") == expected[1]
    finally:
        large.daemon.stop()


def test_eviction_in_the_middle(start: StartNode, calm: Callable[..., str], site: CondaSite) -> None:
    """The store has room for a few of the environments: what one of them needs goes while another one is made."""
    asked = [("large0",), ("large1",), ("part001", "part002"), ("large2",), ("large0", "part003")]
    expected = [calm(*specs) for specs in asked]
    node = start(more={"store": {"limit": "14MB", "lease": 0.001}})
    for _ in range(2):
        for specs, digest in zip(asked, expected, strict=True):
            assert node.digest(*specs) == digest
    node.settle()
    node.check_files()
    assert sum(size for (size,) in node.rows("SELECT size FROM blobs")) <= 14_000_000
    counted = node.daemon.get("/metrics").body.decode()
    assert float(re.findall(r"^wavelet_\w*evict\w*_total (\S+)$", counted, re.MULTILINE)[0]) > 0, counted
    site.server.off()
    assert node.digest(*asked[-1]) == expected[-1]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Return a file system of 120 MiB, of which the store leaves 64 alone."""
    with mounted(tmp_path / "disk", "120m") as place:
        yield place


def test_a_full_disk(start: StartNode, calm: Callable[..., str], site: CondaSite, small_disk: Path) -> None:
    expected = {name: calm(name) for name in (*PARTS[:4], "one")}
    node = start(str(small_disk / "state"), more={"store": {"limit": "1GB"}})
    assert node.digest("one") == expected["one"]
    filler = small_disk / "filler"
    # The log is on the same disk: not one more line of it can be written.
    for path in (filler, node.daemon.log_path):
        with pytest.raises(OSError), path.open("ab", buffering=0) as file:
            while True:
                file.write(bytes(4096))
    for answer in at_once(node.pull, *PARTS[:4]):
        assert answer.status in (500, 507), answer
        assert b"disk" in answer.body or b"room" in answer.body
        assert b"defect" not in answer.body
    assert node.digest("one") == expected["one"]
    filler.unlink()
    for name in PARTS[:4]:
        assert node.digest(name) == expected[name]
    node.check_files()
    node.settle()
