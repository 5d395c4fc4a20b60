"""Sealed logins: what lies in the shared directory opens for nobody without the key, and to nothing but what it is."""

from __future__ import annotations

import os
import stat
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from wavelet.cluster.secrets import ExpiringLogin
from wavelet.cluster.shared_directory.secrets import FOLDER, SIZE_LIMIT, DirectorySecrets
from wavelet.errors import OurError
from wavelet.plan.tokens import Login

KEY = bytes(range(32))
NOW = 1_800_000_000.0
UNTIL = NOW + 3600
LOGIN = Login("ann", "a-secret-of-ann")
QUAY = "quay.io/org"


class Opener:
    """Opens the directory as further nodes do."""

    def __init__(self, root: Path, stack: AsyncExitStack) -> None:
        self.root = root
        self.now = NOW
        self._stack = stack

    def __call__(self, key: bytes = KEY) -> DirectorySecrets:
        sealed = DirectorySecrets(self.root, key, lambda: self.now)
        self._stack.push_async_callback(sealed.close)
        return sealed


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Opener]:
    async with AsyncExitStack() as stack:
        yield Opener(tmp_path / "shared", stack)


def files(node: Opener) -> list[Path]:
    return sorted(path for path in (node.root / FOLDER).rglob("*") if path.is_file())


async def test_another_node_opens_it(node: Opener) -> None:
    await node().put(1001, QUAY, ExpiringLogin(LOGIN, UNTIL))
    await node().put(1001, "docker.io", ExpiringLogin(Login("", "an identity token"), UNTIL + 1))
    await node().put(1002, QUAY, ExpiringLogin(Login("bob", "b"), UNTIL))
    assert await node().of(1001) == {
        QUAY: ExpiringLogin(LOGIN, UNTIL),
        "docker.io": ExpiringLogin(Login("", "an identity token"), UNTIL + 1),
    }
    await node().put(1001, QUAY, ExpiringLogin(Login("ann", "newer"), UNTIL))
    assert (await node().of(1001))[QUAY].login.secret == "newer"
    assert await node().of(1003) == {}


async def test_what_lies_there_says_nothing(node: Opener) -> None:
    await node().put(1001, QUAY, ExpiringLogin(LOGIN, UNTIL))
    (file,) = files(node)
    content = file.read_bytes()
    for told in (b"ann", LOGIN.secret.encode(), b"1001"):
        assert told not in content
        assert told.decode() not in str(file.relative_to(node.root))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert {stat.S_IMODE(folder.stat().st_mode) for folder in list(file.parents)[:2]} == {0o700}
    await node().put(1001, QUAY, ExpiringLogin(LOGIN, UNTIL))
    assert files(node)[0].read_bytes() != content, "the nonce is another one each time"


async def test_another_key_opens_nothing(node: Opener, capsys: pytest.CaptureFixture[str]) -> None:
    await node().put(1001, QUAY, ExpiringLogin(LOGIN, UNTIL))
    stranger = node(bytes(32))
    assert await stranger.of(1001) == {}
    (file,) = files(node)
    folder = stranger._folder(1001)
    folder.mkdir()
    (folder / file.name).write_bytes(file.read_bytes())
    for _ in range(3):
        assert await stranger.of(1001) == {}
    assert capsys.readouterr().out.count("not authentic") == 1


async def test_every_changed_byte_is_seen(node: Opener) -> None:
    sealed = node()
    await sealed.put(1001, QUAY, ExpiringLogin(LOGIN, UNTIL))
    (file,) = files(node)
    content = file.read_bytes()
    for at in range(len(content)):
        file.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        assert await sealed.of(1001) == {}, at
    for other in (b"", content[:-1], content + b"x", content.replace(b"1800003600", b"1900003600"), b" " * SIZE_LIMIT):
        file.write_bytes(other)
        assert await sealed.of(1001) == {}
    file.write_bytes(content)
    assert await sealed.of(1001) == {QUAY: ExpiringLogin(LOGIN, UNTIL)}


async def test_a_file_under_another_name_is_nothing(node: Opener) -> None:
    sealed = node()
    await sealed.put(1001, QUAY, ExpiringLogin(LOGIN, UNTIL))
    await sealed.put(1002, "docker.io", ExpiringLogin(Login("bob", "b"), UNTIL))
    await sealed.put(1001, "docker.io", ExpiringLogin(Login("ann", "hub"), UNTIL))
    anns, bobs = sealed._path(1001, QUAY), sealed._path(1002, QUAY)
    bobs.write_bytes(anns.read_bytes())
    assert set(await sealed.of(1002)) == {"docker.io"}, "another user's"
    anns.replace(sealed._path(1001, "docker.io"))
    assert await sealed.of(1001) == {}, "another registry's"


async def test_what_is_no_file_is_passed_over(node: Opener) -> None:
    sealed = node()
    await sealed.put(1001, QUAY, ExpiringLogin(LOGIN, UNTIL))
    folder = sealed._folder(1001)
    (folder / "a").symlink_to(files(node)[0])
    (folder / "b").mkdir()
    os.mkfifo(folder / "c")
    assert await sealed.of(1001) == {QUAY: ExpiringLogin(LOGIN, UNTIL)}


async def test_what_has_ended_goes(node: Opener) -> None:
    sealed = node()
    await sealed.put(1001, QUAY, ExpiringLogin(LOGIN, UNTIL))
    await sealed.put(1001, "docker.io", ExpiringLogin(LOGIN, UNTIL + 10))
    await sealed.put(1002, "docker.io", ExpiringLogin(LOGIN, UNTIL))
    node.now = UNTIL
    assert set(await sealed.of(1001)) == {"docker.io"}
    assert len(files(node)) == 2
    assert (await sealed.expire(), len(files(node))) == (1, 1)


async def test_taken_back(node: Opener) -> None:
    await node().put(1001, QUAY, ExpiringLogin(LOGIN, UNTIL))
    for _ in range(2):
        await node().remove(1001, QUAY)
    assert await node().of(1001) == {}
    assert files(node) == []


async def test_a_directory_that_cannot_be_used(node: Opener) -> None:
    node.root.write_text("no directory")
    sealed = node()
    with pytest.raises(OurError, match="shared"):
        await sealed.put(1001, QUAY, ExpiringLogin(LOGIN, UNTIL))
    with pytest.raises(OurError):
        await sealed.of(1001)


async def test_a_login_that_a_clock_sealed_which_was_ahead_is_none(node: Opener) -> None:
    """Fault D2, of sealed logins: it would have opened for 400 days."""
    node.now = NOW + 400 * 86400
    await node().put(1001, QUAY, ExpiringLogin(LOGIN, node.now + 3600))
    node.now = NOW
    assert await node().of(1001) == {}
    await node().put(1001, QUAY, ExpiringLogin(LOGIN, UNTIL))
    assert await node().of(1001) == {QUAY: ExpiringLogin(LOGIN, UNTIL)}
