"""Whose files count, users' own directories, and what others may have put into a directory that they can write to."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cluster.intruders import INTRUDERS, directory, huge_file
from cluster.sif_directory.places import Maker, file_of, left, name, opened
from lab.users import User, passable_directory
from wavelet.config import ConfigError
from wavelet.errors import DirectoryUnavailable
from wavelet.plan.tokens import Principal

TESTS = Path(__file__).parents[2]
STRANGER = 54321
"""A uid that is neither root's nor the daemon's."""

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give files to others")


@pytest.fixture
def root() -> Iterator[Path]:
    with passable_directory() as place:
        yield place / "sif"


@pytest.fixture
def everybodys(root: Path) -> Path:
    """Return a directory in which all may make files, as /tmp is."""
    root.mkdir()
    root.chmod(0o1777)
    return root


@pytest.fixture
def user() -> Iterator[User]:
    made = User.create("sif")
    yield made
    made.remove()


def as_user(user: User, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a node of this user."""
    own = {"PYTHONPATH": f"{TESTS}:{TESTS.parent / 'daemon'}", "PYTHONDONTWRITEBYTECODE": "1"}
    command = (*user.prefix(), sys.executable, "-m", "cluster.sif_directory.node", *arguments)
    return subprocess.run(
        command, env=os.environ | own | variables, capture_output=True, text=True, check=False, timeout=60
    )


@as_root
async def test_root_makes_a_users_own_directory(root: Path) -> None:
    node = opened(root)
    file = await file_of(node, 1, Principal(uid=STRANGER))
    assert file.path == root / f"private-{STRANGER}" / name().file
    assert await file.ensure(Maker())
    assert not await file.ensure(Maker())
    private, made = file.path.parent.stat(), file.path.stat()
    assert (private.st_uid, stat.S_IMODE(private.st_mode)) == (STRANGER, 0o700)
    assert (made.st_uid, stat.S_IMODE(made.st_mode)) == (STRANGER, 0o600)
    assert not await (await file_of(node)).is_there()


@as_root
async def test_users_own_files_count_for_the_limit(root: Path) -> None:
    node = opened(root, limit="250", lease=1)
    mine = [await file_of(node, number, Principal(uid=STRANGER)) for number in (1, 2)]
    for file in mine:
        await file.ensure(Maker(b"x" * 100))
        os.utime(file.path, (0, 0))
    await (await file_of(node, 3)).ensure(Maker(b"x" * 100))
    assert [file.path.exists() for file in mine] == [False, True]


@as_root
async def test_a_file_of_any_size_that_a_user_makes_counts_for_what_it_takes(root: Path) -> None:
    node = opened(root, limit="1MB")
    planted = (await file_of(node, 1, Principal(uid=STRANGER))).path
    planted.touch()
    os.truncate(planted, 2**40)
    os.chown(planted, STRANGER, STRANGER)
    assert await (await file_of(node, 2)).ensure(Maker(b"x" * 1000))


@as_root
async def test_a_directory_that_a_crash_left_is_handed_over(root: Path) -> None:
    node = opened(root)
    (root / f"private-{STRANGER}").mkdir(0o700)
    assert await (await file_of(node, 1, Principal(uid=STRANGER))).ensure(Maker())


@pytest.mark.process
@pytest.mark.users
async def test_a_users_daemon_makes_its_own_and_no_others(root: Path, user: User) -> None:
    root.mkdir()
    os.chown(root, user.uid, user.gid)
    path = root / f"private-{user.uid}" / name().file
    ran = as_user(user, str(root), "1", "0", str(user.uid))
    assert ran.stdout.splitlines() == ["making", f"{path} True"], ran.stderr
    assert (path.parent.stat().st_uid, stat.S_IMODE(path.parent.stat().st_mode)) == (user.uid, 0o700)
    ran = as_user(user, str(root), "1", "0", str(STRANGER))
    assert ran.stdout == "none\n", ran.stderr
    assert not (root / f"private-{STRANGER}").exists()
    assert as_user(user, str(root), "2", "0").stdout.splitlines()[-1] == f"{root / name(2).file} True"


@pytest.mark.process
@pytest.mark.users
async def test_a_root_whom_the_file_server_makes_somebody_else_has_everybodys_files_only(
    everybodys: Path, user: User
) -> None:
    """`root_squash`: its files are not root's there, and it may give none away."""
    path = everybodys / name().file
    for last in (f"{path} True", f"{path} False"):
        ran = as_user(user, str(everybodys), "1", "0", SQUASHED="1")
        assert ran.stdout.splitlines()[-1] == last, ran.stderr
    assert path.stat().st_uid == user.uid
    assert as_user(user, str(everybodys), "1", "0", str(STRANGER), SQUASHED="1").stdout == "none\n"
    assert sorted(each.name for each in everybodys.iterdir()) == [".wavelet", path.name]


@pytest.mark.process
@pytest.mark.users
async def test_a_directory_that_cannot_be_written_is_said(root: Path, user: User) -> None:
    opened(root).close()
    said = as_user(user, str(root), "1", "0")
    assert said.stderr.startswith(f"sif.directory: {root}/."), said
    assert "cannot be used: Permission denied; make " in said.stderr


@as_root
def test_a_directory_of_somebody_else_is_refused(root: Path) -> None:
    root.mkdir()
    os.chown(root, STRANGER, STRANGER)
    with pytest.raises(ConfigError, match=rf"^sif\.directory: {root} belongs to the user {STRANGER}"):
        opened(root)


@as_root
@pytest.mark.parametrize("how", ["a link", "a directory", "open to others"])
def test_a_work_directory_that_somebody_has_planted_is_refused(everybodys: Path, tmp_path: Path, how: str) -> None:
    work = everybodys / ".wavelet"
    if how == "a link":
        work.symlink_to(tmp_path)
    else:
        work.mkdir()
        if how == "a directory":
            os.chown(work, STRANGER, STRANGER)
        else:
            work.chmod(0o777)
    with pytest.raises(ConfigError, match=rf"^sif\.directory: {work} cannot be used: "):
        opened(everybodys)
    assert list(tmp_path.iterdir()) == []


async def test_a_work_directory_that_is_replaced_later_is_not_used(root: Path, tmp_path: Path) -> None:
    node = opened(root)
    file = await file_of(node)
    (root / ".wavelet").rmdir()
    (root / ".wavelet").symlink_to(tmp_path)
    with pytest.raises(DirectoryUnavailable, match=r"it is no directory; remove it \(\.wavelet\)"):
        await file.ensure(Maker())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("intruder", [each for each in INTRUDERS if each not in (directory, huge_file)])
async def test_what_stands_under_a_files_name_is_replaced(root: Path, intruder: Callable[[Path], None]) -> None:
    file = await file_of(opened(root))
    intruder(file.path)
    assert not await file.use()
    assert await file.ensure(Maker(b"right"))
    assert not file.path.is_symlink()
    assert file.path.read_bytes() == b"right"


async def test_a_directory_under_a_files_name_is_said(root: Path) -> None:
    file = await file_of(opened(root))
    file.path.mkdir()
    with pytest.raises(DirectoryUnavailable, match=r"Is a directory"):
        await file.ensure(Maker())
    assert left(root) == []


async def test_a_link_to_a_file_of_ours_is_none(root: Path, tmp_path: Path) -> None:
    node = opened(root)
    other, file = await file_of(node, 2), await file_of(node, 1)
    await other.ensure(Maker(b"another image"))
    file.path.symlink_to(other.path)
    assert not await file.is_there()
    file.path.unlink()
    os.link(other.path, file.path)
    assert not await file.is_there()
    assert await file.ensure(Maker(b"this one"))
    assert other.path.read_bytes() == b"another image"
    assert await other.is_there()


@as_root
async def test_a_file_of_somebody_else_does_not_count(everybodys: Path) -> None:
    node = opened(everybodys)
    file = await file_of(node)
    file.path.write_bytes(b"evil")
    os.chown(file.path, STRANGER, STRANGER)
    assert not await file.is_there()
    assert await file.ensure(Maker(b"right"))
    assert file.path.read_bytes() == b"right"


async def test_a_file_that_others_may_write_to_does_not_count(root: Path) -> None:
    node = opened(root)
    file = await file_of(node)
    await file.ensure(Maker())
    file.path.chmod(0o666)
    assert not await file.is_there()


@as_root
@pytest.mark.parametrize("how", ["a link", "somebody else's", "open to others", "a file"])
async def test_a_users_directory_that_somebody_has_planted_is_not_used(
    everybodys: Path, tmp_path: Path, how: str
) -> None:
    private = everybodys / f"private-{STRANGER}"
    if how == "a link":
        private.symlink_to(tmp_path)
    elif how == "a file":
        private.touch()
    else:
        private.mkdir()
        os.chown(private, STRANGER if how == "open to others" else STRANGER + 1, -1)
        private.chmod(0o755 if how == "open to others" else 0o700)
    node = opened(everybodys)
    assert await node.file(name(), Principal(uid=STRANGER)) is None
    assert list(tmp_path.iterdir()) == []


@as_root
async def test_a_users_directory_that_is_replaced_later_is_not_used(root: Path, tmp_path: Path) -> None:
    file = await file_of(opened(root), 1, Principal(uid=STRANGER))
    file.path.parent.rmdir()
    file.path.parent.symlink_to(tmp_path)
    with pytest.raises(DirectoryUnavailable, match="it is no directory"):
        await file.ensure(Maker())
    assert list(tmp_path.iterdir()) == []


async def test_nobodys_directory_is_no_place_for_a_user(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A daemon of its own user does not even try."""
    node = opened(root)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert await node.file(name(), Principal(uid=STRANGER)) is None
    assert not (root / f"private-{STRANGER}").exists()
