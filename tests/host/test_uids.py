"""What the kernel's number for a user means: users, nobody in particular, and what is no identity at all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from wavelet.errors import AccessRefused
from wavelet.host import uids
from wavelet.host.uids import user_of


@pytest.mark.parametrize("number", [0, 1, 1000, 65533, 65535, 2**31 - 1, 2**31, 3_000_000_001, 2**32 - 2])
def test_a_uid_is_unsigned_and_has_32_bits(number: int) -> None:
    """Fault G2: uids are unsigned."""
    assert user_of(number) == number


@pytest.mark.parametrize("number", [-1, 2**32 - 1, -1294967295, 2**32])
def test_what_is_no_uid_is_nobody_elses_either(number: int) -> None:
    """Fault G2: an identity that cannot be read is refused."""
    with pytest.raises(AccessRefused, match="the kernel does not say who calls"):
        user_of(number)


@pytest.fixture
def overflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    path = tmp_path / "overflowuid"
    monkeypatch.setattr(uids, "_OVERFLOW", path)
    uids._overflow_uids.cache_clear()
    yield path
    uids._overflow_uids.cache_clear()


def test_the_overflow_uid_is_nobody_as_the_kernel_has_it_set(overflow: Path) -> None:
    """Fault G3: several people may hide behind it."""
    overflow.write_text("60000\n")
    assert [user_of(number) for number in (60000, 65534, 60001)] == [None, None, 60001]


def test_the_usual_overflow_uid_is_nobody_where_the_kernel_says_none(overflow: Path) -> None:
    """Fault G3, where /proc/sys is covered."""
    assert [user_of(number) for number in (65534, 65533)] == [None, 65533]
