"""Packages and indexes that are wrong: the answer names the package and whose fault it is, and nothing of it stays."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from faulty import CHANNEL, Node, StartNode, at_once, eventually

from lab.conda_asks import CondaSite
from lab.conda_bad import Bad, bad_packages
from lab.conda_index import edit_record
from lab.conda_packages import Noise, Package, text, write
from lab.http import Answer

pytestmark = pytest.mark.registry

ACCEPTED = {"bad-file-sum", "bad-path-type", "bad-file-mode", "no-sums"}
"""What no installer looks at; the archive's own digest, where the index has it, is right."""
CHANNELS = ("bad", CHANNEL)
BOMB = 20_000_000


@pytest.fixture
def bad(site: CondaSite, tmp_path: Path) -> Iterator[dict[str, Bad]]:
    """Serve the lab's bad packages as the channel `bad`."""
    made = bad_packages(tmp_path / "bad", bomb_bytes=BOMB)
    site.server.channels["bad"] = tmp_path / "bad"
    yield made
    assert not list(Path("/tmp").glob("escaped-*"))


def sums(path: Path) -> dict[str, object]:
    """Return what an index says of an archive."""
    raw = path.read_bytes()
    return {"md5": hashlib.md5(raw).hexdigest(), "sha256": hashlib.sha256(raw).hexdigest(), "size": len(raw)}


def fault(answer: Answer) -> tuple[str, str]:
    """Return the sentence of a registry's error, and whose fault it is said to be."""
    error = answer.json()["errors"][0]
    return error["message"], error["detail"]["fault"]


def test_each_is_refused_by_name_and_leaves_nothing(bad: dict[str, Bad], start: StartNode, site: CondaSite) -> None:
    node = start(package_limit=BOMB // 2)
    wanted = [each for name, each in bad.items() if name not in ACCEPTED]
    assert len(wanted) > 30
    for each, answer in zip(wanted, at_once(lambda each: node.pull(each.name, channels=CHANNELS), *wanted), strict=True):
        assert answer.status == 502, (each, answer)
        message, whose = fault(answer)
        assert each.path.name in message, message
        assert site.server.host in message
        assert whose == "upstream"
        assert b"Traceback" not in answer.body
    assert node.leftovers() == []
    node.check_files()
    assert "Traceback" not in node.daemon.log()
    layers = node.rows("SELECT COUNT(*) FROM images WHERE image LIKE '%conda-layer%' OR plan LIKE '%bad-%'")
    assert layers == [(0,)]


def test_damaged_copies_on_a_server(
    bad: dict[str, Bad], start: StartNode, calm: Callable[..., str], tmp_path: Path
) -> None:
    """The index is right, the files are not: once they are, the same requests work."""
    node = start()
    names = ("bad-zstd", "bad-truncated", "bad-empty-file")
    whole = {name: write(tmp_path / "whole", package(name)) for name in names}
    for name in names:
        edit_record(tmp_path / "bad", bad[name].path.name, **sums(whole[name]))

    def ask(name: str) -> Answer:
        return node.pull(name, channels=CHANNELS)

    for name, answer in zip(names, at_once(ask, *names), strict=True):
        assert answer.status == 502
        assert bad[name].path.name in fault(answer)[0]
        bad[name].path.write_bytes(whole[name].read_bytes())
    node.check_files()
    assert node.leftovers() == []
    for name, answer in zip(names, at_once(lambda name: eventually(lambda: ask(name)), *names), strict=True):
        assert answer.status == 200, answer
        assert node.digest(name, channels=CHANNELS) == calm(name, channels=CHANNELS)


def package(name: str) -> Package:
    """Return what a broken package was before it broke."""
    return Package(name, files={"share/fine": text("fine\n" * 5000), "share/more": Noise(300_000)})


def test_an_index_that_is_mended(
    bad: dict[str, Bad], start: StartNode, calm: Callable[..., str], tmp_path: Path
) -> None:
    node = start()
    names = ("wrong-sha256", "wrong-size")
    for name in names:
        assert node.pull(name, channels=CHANNELS).status == 502
        edit_record(tmp_path / "bad", bad[name].path.name, **sums(bad[name].path))
    for answer in at_once(lambda name: eventually(lambda: node.pull(name, channels=CHANNELS)), *names):
        assert answer.status == 200, answer
    for name in names:
        assert node.digest(name, channels=CHANNELS) == calm(name, channels=CHANNELS)


def test_a_refresh_takes_a_mended_index(
    bad: dict[str, Bad], start: StartNode, calm: Callable[..., str], tmp_path: Path
) -> None:
    node = start()
    for name, refresh in (("wrong-sha256", True), ("wrong-md5", False)):
        assert node.pull(name, channels=CHANNELS).status != 200
        edit_record(tmp_path / "bad", bad[name].path.name, **sums(bad[name].path))
        assert eventually(lambda: node.pull(name, channels=CHANNELS, refresh=refresh)).status == 200
        assert node.digest(name, channels=CHANNELS) == calm(name, channels=CHANNELS)
