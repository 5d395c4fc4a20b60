"""Shared directories where something else lies in a file's place: nothing waits for it, and nothing reads it whole."""

from __future__ import annotations

import asyncio
import os
import resource
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cluster import intruders
from cluster.intruders import INTRUDERS
from cluster.suite import KEY, LIFETIMES, layer_record, pin_of, undecided_record
from wavelet import plain_files
from wavelet.cluster.key import load_key
from wavelet.cluster.secrets import ExpiringLogin
from wavelet.cluster.shared_directory import records as directory
from wavelet.cluster.shared_directory.claims import DirectoryClaims
from wavelet.cluster.shared_directory.records import DirectoryRecords
from wavelet.cluster.shared_directory.secrets import DirectorySecrets
from wavelet.config import ConfigError
from wavelet.errors import OurError
from wavelet.image.reference import Digest
from wavelet.kinds.table import FORMS
from wavelet.plain_files import NotPlainError
from wavelet.plan.tokens import Login

QUICKLY = 10.0

Intruder = Callable[[Path], None]
each_intruder = pytest.mark.parametrize("intruder", INTRUDERS)


@pytest.fixture(autouse=True)
def short_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory, "LOOK_AGAIN", ())


@each_intruder
async def test_a_record_that_is_none(tmp_path: Path, intruder: Intruder) -> None:
    """Fault G8: a FIFO in a record's place hung the daemon, a file of 3 GB was read whole."""
    record, digest = layer_record(b"bytes")
    first = DirectoryRecords(tmp_path, KEY, FORMS, LIFETIMES)
    token = await first.put(record, {digest: b"bytes"})
    await first.close()
    for path in list((tmp_path / token[:2]).iterdir()):
        intruders.replace(path, intruder)
    records = DirectoryRecords(tmp_path, KEY, FORMS, LIFETIMES)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    async with asyncio.timeout(QUICKLY):
        assert await records.get(token) is None
        assert await records.inline(token, digest) is None
        await records.touch(token)
        await records.expire()
        if intruder is intruders.directory:
            with pytest.raises(OurError, match=token):
                await records.put(record, {digest: b"bytes"})
        else:
            assert await records.put(record, {digest: b"bytes"}) == token
            assert await records.get(token) is not None
            assert await records.inline(token, digest) == b"bytes"
        await records.close()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kilobytes


@each_intruder
async def test_a_claim_that_is_none(tmp_path: Path, intruder: Intruder) -> None:
    """Fault G8, for claims and the blobs that they speak of."""
    claims = DirectoryClaims(tmp_path, KEY)
    await claims.claim("key", b"what it says")
    (claim,) = (tmp_path / "claims").glob("*/*")
    blob = tmp_path / "blob"
    blob.write_bytes(b"blob")
    digest = Digest.of(b"blob")
    await claims.share(blob, digest)
    (shared,) = (tmp_path / "blobs").iterdir()
    for path in (claim, shared):
        intruders.replace(path, intruder)
    async with asyncio.timeout(QUICKLY):
        assert await claims.claimed("key") is None
        assert await claims.fetch(digest, tmp_path / "got", 4) is None
        await claims.expire()
        assert await claims.claim("key", b"what it says") == b"what it says"
        assert await claims.claimed("key") == b"what it says"
        await claims.close()
    assert not (tmp_path / "got").exists() or (tmp_path / "got").stat().st_size < 10 * 1024 * 1024


@each_intruder
async def test_a_binding_that_is_none(tmp_path: Path, intruder: Intruder) -> None:
    """It is not known what the name has answered, so nothing takes the binding's place; the name can be evicted."""
    records = DirectoryRecords(tmp_path, KEY, FORMS, LIFETIMES)
    token, other = [await records.put(undecided_record(nonce=nonce), {}) for nonce in ("aa", "bb")]
    pin = pin_of(undecided_record())
    await records.bind(token, pin)
    (binding,) = tmp_path.glob("*/*.pin")
    intruders.replace(binding, intruder)
    before = binding.lstat()
    async with asyncio.timeout(QUICKLY):
        with pytest.raises(OurError, match="it gets a new name"):
            await records.get(token)
        with pytest.raises(OurError, match="it gets a new name"):
            await records.bind(token, pin)
        await records.touch(token)
        await records.expire()
        assert (binding.lstat().st_ino, binding.lstat().st_mode) == (before.st_ino, before.st_mode)
        assert await records.bind(other, pin) == pin
        assert await records.evict(token) is True
        assert not os.path.lexists(binding)
        await records.close()


@each_intruder
async def test_a_sealed_login_that_is_none(tmp_path: Path, intruder: Intruder) -> None:
    """Fault G8, for sealed logins."""
    logins = DirectorySecrets(tmp_path, KEY)
    kept = ExpiringLogin(Login("me", "secret"), time.time() + 100)
    await logins.put(1000, "quay.io", kept)
    await logins.put(1000, "ghcr.io", kept)
    path = next((tmp_path / "logins").glob("*/*"))
    intruders.replace(path, intruder)
    async with asyncio.timeout(QUICKLY):
        assert len(await logins.of(1000)) == 1
        await logins.expire()
        await logins.close()


@each_intruder
def test_a_key_that_is_none(tmp_path: Path, intruder: Intruder) -> None:
    """Fault G8, for the cluster's key."""
    path = tmp_path / "cluster.key"
    intruder(path)
    began = time.monotonic()
    with pytest.raises(ConfigError, match=r"cluster\.key"):
        load_key(path)
    assert time.monotonic() - began < QUICKLY


# -- reading ----------------------------------------------------------------------------------------------------------


@each_intruder
@pytest.mark.parametrize("follow", [False, True])
def test_only_regular_files_of_a_modest_size_are_read(tmp_path: Path, intruder: Intruder, follow: bool) -> None:
    path = tmp_path / "file"
    intruder(path)
    with pytest.raises(FileNotFoundError if follow and intruder is intruders.dangling_link else NotPlainError) as seen:
        plain_files.read(path, 1000, follow=follow)
    assert seen.value.strerror


def test_a_link_is_followed_where_that_is_wanted(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    (tmp_path / "link").symlink_to("file")
    assert plain_files.read(tmp_path / "link", 5, follow=True)[0] == b"12345"
    with pytest.raises(NotPlainError, match="symbolic link"):
        plain_files.read(tmp_path / "link", 5)
    with pytest.raises(NotPlainError, match="more than 4 bytes"):
        plain_files.read(tmp_path / "file", 4)


def test_files_whose_size_is_not_told_are_read_up_to_the_limit() -> None:
    stat = Path("/proc/self/stat")
    assert plain_files.read(stat, 100_000)[0]
    with pytest.raises(NotPlainError):
        plain_files.read(stat, 4)
