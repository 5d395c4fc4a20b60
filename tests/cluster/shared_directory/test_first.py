"""Files of which the first one stays: with hard links, without, with both on one share, and where answers are lost."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from cluster import intruders, no_links
from cluster.intruders import INTRUDERS
from wavelet.cluster import publish
from wavelet.cluster.shared_directory import first
from wavelet.plain_files import NotPlainError

NOW = 1_800_000_000.0
LIMIT = 1000

with_and_without_links = pytest.mark.parametrize("links", [True, False], ids=["links", "no links"])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "shard" / "name"


@pytest.fixture(autouse=True)
def shard(path: Path) -> Path:
    path.parent.mkdir()
    return path.parent


def publish_as(links: bool, path: Path, content: bytes) -> None:
    with pytest.MonkeyPatch.context() as patch:
        if not links:
            patch.setattr(os, "link", no_links.link)
        first.publish_first(path, content, NOW)


def names(directory: Path) -> list[str]:
    return sorted(str(each.relative_to(directory)) for each in directory.rglob("*"))


@pytest.mark.parametrize("second", [True, False])
@with_and_without_links
def test_the_first_stays_whichever_way_the_second_goes(path: Path, shard: Path, links: bool, second: bool) -> None:
    publish_as(links, path, b"one")
    standing = names(shard)
    publish_as(second, path, b"two")
    content, status = first.read(path, LIMIT)
    assert content == b"one"
    assert status.st_mtime == first.status(path).st_mtime == NOW
    assert names(shard) == standing == (["name"] if links else ["name", "name/content"])


@with_and_without_links
def test_it_is_the_owners_alone(path: Path, links: bool) -> None:
    publish_as(links, path, b"one")
    for each in (path, *path.parent.rglob("name/*")):
        assert each.stat().st_mode & 0o077 == 0


@with_and_without_links
def test_it_is_replaced_where_that_is_wanted(path: Path, shard: Path, links: bool) -> None:
    publish_as(links, path, b"one")
    standing = names(shard)
    first.replace(path, b"two", NOW + 5)
    content, status = first.read(path, LIMIT)
    assert (content, status.st_mtime) == (b"two", NOW + 5)
    assert names(shard) == standing
    publish_as(not links, path, b"three")
    assert first.read(path, LIMIT)[0] == b"two"


@with_and_without_links
def test_its_time_is_set_and_it_is_removed(path: Path, shard: Path, links: bool) -> None:
    assert first.remove(path) is False
    first.set_time(path, NOW)
    publish_as(links, path, b"one")
    first.set_time(path, NOW + 10)
    assert first.status(path).st_mtime == NOW + 10
    assert first.remove(path) is True
    assert names(shard) == []
    with pytest.raises(FileNotFoundError):
        first.read(path, LIMIT)
    with pytest.raises(FileNotFoundError):
        first.status(path)
    publish_as(links, path, b"two")
    assert first.read(path, LIMIT)[0] == b"two"


@pytest.mark.parametrize("intruder", INTRUDERS)
@with_and_without_links
def test_what_else_has_the_name_stays_and_is_not_read(
    path: Path, shard: Path, links: bool, intruder: Callable[[Path], None]
) -> None:
    intruder(path)
    with pytest.raises(NotPlainError):
        first.read(path, LIMIT)
    publish_as(links, path, b"one")
    if intruder is intruders.directory and not links:
        assert first.read(path, LIMIT)[0] == b"one"  # an empty directory keeps nobody out
        return
    assert names(shard) == ["name"]
    with pytest.raises(NotPlainError):
        first.read(path, LIMIT)


@pytest.mark.parametrize("intruder", INTRUDERS)
def test_what_is_in_a_directory_is_no_better(path: Path, intruder: Callable[[Path], None]) -> None:
    publish_as(False, path, b"one")
    intruders.replace(path / "content", intruder)
    with pytest.raises(NotPlainError):
        first.read(path, LIMIT)


def test_a_link_to_a_directory_is_not_followed(path: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "content").write_bytes(b"secret")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(NotPlainError, match="symbolic link"):
        first.read(path, LIMIT)
    assert first.remove(path) is True
    assert (tmp_path / "elsewhere" / "content").exists()


def test_a_link_whose_answer_was_lost_is_ours(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link = os.link

    def lose(source: Path, target: Path) -> NoReturn:
        link(source, target)
        raise FileExistsError(errno.EEXIST, "File exists")

    monkeypatch.setattr(os, "link", lose)
    assert publish.publish_new(path, b"one", NOW) is True
    with pytest.raises(FileExistsError):
        lose(path, path)
    monkeypatch.undo()
    assert publish.publish_new(path, b"two", NOW) is False
    assert first.read(path, LIMIT)[0] == b"one"
    assert names(path.parent) == ["name"]


def test_a_rename_whose_answer_was_lost_is_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rename, renamed_over = os.rename, os.replace

    def lose(source: Path, target: Path) -> NoReturn:
        rename(source, target)
        raise FileNotFoundError(errno.ENOENT, "No such file or directory")

    def lose_over(source: Path, target: Path) -> NoReturn:
        renamed_over(source, target)
        raise FileNotFoundError(errno.ENOENT, "No such file or directory")

    monkeypatch.setattr(os, "rename", lose)
    monkeypatch.setattr(os, "replace", lose_over)
    publish_as(False, path, b"one")
    assert first.read(path, LIMIT)[0] == b"one"
    publish.publish_over(path.with_name("other"), b"two", NOW)
    assert names(path.parent) == ["name", "name/content", "other"]


def test_a_rename_that_cannot_be_is_an_error(path: Path, shard: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> NoReturn:
        raise FileNotFoundError(errno.ENOENT, "No such file or directory")

    monkeypatch.setattr(os, "rename", refuse)
    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(FileNotFoundError):
        publish_as(False, path, b"one")
    with pytest.raises(FileNotFoundError):
        publish.publish_over(path, b"one", NOW)
    assert [name for name in names(shard) if not name.endswith(".tmp")] == []


@pytest.mark.parametrize("failure", [errno.ENOSPC, errno.EIO, errno.EROFS])
@pytest.mark.parametrize("call", ["fsync", "utime", "open"])
@with_and_without_links
def test_what_fails_leaves_nothing(
    path: Path, shard: Path, links: bool, call: str, failure: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> NoReturn:
        raise OSError(failure, os.strerror(failure))

    with pytest.raises(OSError, match=os.strerror(failure)), pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, call, fail)
        publish_as(links, path, b"one")
    assert names(shard) == []


def test_what_a_crash_leaves_is_removed_and_what_is_not_ours_stays(shard: Path) -> None:
    left = shard / ".abc.tmp"
    left.mkdir()
    first.remove(left)
    assert names(shard) == []
    left.mkdir()
    for name in ("content", ".def.tmp", "somebody's"):
        (left / name).write_bytes(b"half")
    first.remove(left)
    assert names(shard) == [".abc.tmp", ".abc.tmp/somebody's"]
    (left / "somebody's").unlink()
    first.remove(left)
    left.write_bytes(b"half")
    first.remove(left)
    assert names(shard) == []
