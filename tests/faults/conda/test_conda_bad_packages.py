"""Packages and indexes that are wrong: the answer names the package and whose fault it is, and nothing of it stays."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from faulty import FORGOTTEN_SECONDS, Node, StartNode, at_once, eventually

from lab.conda_asks import CHANNEL, CondaSite
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


def pull_each(node: Node, names: list[str]) -> dict[str, Answer]:
    """Ask for packages of the bad channel, each alone, all at the same time."""
    answers = at_once(lambda name: node.pull(name, channels=CHANNELS), *names)
    return dict(zip(names, answers, strict=True))


def test_each_is_refused_by_name_and_leaves_nothing(bad: dict[str, Bad], start: StartNode, site: CondaSite) -> None:
    node = start(package_limit=BOMB // 2)
    names = [name for name in bad if name not in ACCEPTED]
    assert len(names) > 30
    for name, answer in pull_each(node, names).items():
        assert answer.status == 502, (name, answer)
        # A request whose index gives no SHA-256 may be refused before it has a name that can be pulled.
        error = answer.json().get("errors", [answer.json()])[0]
        assert bad[name].path.name in error["message"], error
        assert site.server.host in error["message"]
        assert error.get("detail", {"fault": "upstream"})["fault"] == "upstream"
        assert "defect" not in error["message"]
    node.settle()
    node.check_files()
    assert "Traceback" not in node.daemon.log()
    assert node.rows("SELECT COUNT(*) FROM images WHERE plan LIKE '%/bad/%'") == [(0,)]


def test_what_is_mended_works(bad: dict[str, Bad], start: StartNode, calm: Callable[..., str], tmp_path: Path) -> None:
    """Archives that are damaged while the index is right, and indexes that are wrong while the archives are right."""
    node = start()
    damaged, lied = ["bad-zstd", "bad-truncated", "bad-empty-file"], ["wrong-sha256", "wrong-size", "wrong-md5"]
    whole = {name: write(tmp_path / "whole", package(name)) for name in damaged}
    for name in damaged:
        edit_record(tmp_path / "bad", bad[name].path.name, **sums(whole[name]))
    for name, answer in pull_each(node, damaged + lied).items():
        assert answer.status == 502
        assert bad[name].path.name.encode() in answer.body
    node.settle()
    node.check_files()
    for name in damaged:
        bad[name].path.write_bytes(whole[name].read_bytes())
    for name in lied:
        edit_record(tmp_path / "bad", bad[name].path.name, **sums(bad[name].path))
    # What an index said of a package stands in the lock, until somebody asks for a new one; an MD5 never gets there.
    renewed = {"wrong-sha256", "wrong-size"}

    def pull_mended(name: str) -> Answer:
        ask = partial(node.pull, name, channels=CHANNELS, refresh=name in renewed)
        return eventually(ask, 3 * FORGOTTEN_SECONDS)  # they are many at once

    for answer in at_once(pull_mended, *damaged, *lied):
        assert answer.status == 200, answer
    for name in damaged + lied:
        assert node.digest(name, channels=CHANNELS) == calm(name, channels=CHANNELS)


def package(name: str) -> Package:
    """Return what a broken package was before it broke."""
    return Package(name, files={"share/fine": text("fine\n" * 5000), "share/more": Noise(300_000)})
