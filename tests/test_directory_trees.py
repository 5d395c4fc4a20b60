"""Directory trees of others: walked and removed, however deep they are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lab.users import User
from wavelet import directory_trees
from wavelet.directory_trees import DEPTH_LIMIT, TooDeep, remove, size_of, walk


def dig(top: Path, depth: int, mode: int = 0o755) -> None:
    """Make a directory in a directory, `depth` times, with a file in each."""
    top.mkdir(exist_ok=True)
    here = os.open(top, os.O_RDONLY)
    for _ in range(depth):
        os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=here))
        os.mkdir("d", dir_fd=here)
        inner = os.open("d", os.O_RDONLY, dir_fd=here)
        os.fchmod(here, mode)
        os.close(here)
        here = inner
    os.close(here)


@pytest.mark.parametrize("depth", [1, 1200])
def test_a_tree_is_removed_however_deep_it_is(tmp_path: Path, depth: int) -> None:
    """Fault G1: cleaning up never recurses."""
    dig(tmp_path / "tree", depth)
    (tmp_path / "outside").write_text("kept")
    (tmp_path / "tree/d/link").symlink_to(tmp_path / "outside")
    (tmp_path / "tree/d/directory").symlink_to(tmp_path)
    remove(tmp_path / "tree")
    remove(tmp_path / "tree")
    assert [path.name for path in tmp_path.iterdir()] == ["outside"]


def _names(directory: int) -> list[str]:
    with os.scandir(directory) as entries:
        return [entry.name for entry in entries]


@pytest.mark.users
def test_rights_that_were_taken_from_an_owner_keep_nothing_there(tmp_path: Path) -> None:
    user = User.create("t")
    try:
        program = user.home / "directory_trees.py"
        program.write_text(Path(directory_trees.__file__).read_text())
        dig(user.home / "tree", 3000, mode=0)
        for path in (user.home / "tree", program):
            os.chown(path, user.uid, user.gid)
        here = os.open(user.home / "tree", os.O_RDONLY)
        while True:
            for name in _names(here):
                os.chown(name, user.uid, user.gid, dir_fd=here)
            if "d" not in _names(here):
                break
            inner = os.open("d", os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = inner
        os.close(here)
        code = "import directory_trees, pathlib; directory_trees.remove(pathlib.Path('tree'))"
        user.run("sh", "-c", f'cd {user.home} && exec /usr/bin/python3 -c "{code}"')
        assert not (user.home / "tree").exists()
    finally:
        user.remove()


def test_what_cannot_be_removed_keeps_nothing_else_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tree").mkdir()
    for name in ("a", "b", "c"):
        dig(tmp_path / "tree" / name, 2)
    clear = directory_trees._clear

    def busy(name: str, top: int) -> None:
        if name == "b":
            raise OSError(16, "Device or resource busy")
        clear(name, top)

    monkeypatch.setattr(directory_trees, "_clear", busy)
    with pytest.raises(OSError, match="busy"):
        remove(tmp_path / "tree")
    assert [path.name for path in (tmp_path / "tree").iterdir()] == ["b"]


def test_a_walk_ends_with_a_sentence(tmp_path: Path) -> None:
    dig(tmp_path / "tree", DEPTH_LIMIT)
    assert sum(1 for _ in walk(tmp_path / "tree")) == 2 * DEPTH_LIMIT
    dig(tmp_path / "deeper", 1200)
    with pytest.raises(TooDeep, match=f"more than {DEPTH_LIMIT} directories deep"):
        list(walk(tmp_path / "deeper"))
    assert size_of(tmp_path / "deeper") > 0
    left = [entry.name for entry in walk(tmp_path / "deeper", lambda path: path == "d")]
    assert left == ["file"]
    remove(tmp_path / "deeper")  # pytest could not
