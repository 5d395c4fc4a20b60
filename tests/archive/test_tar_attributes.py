"""Owners, rights and extended attributes are read as `tarfile` reads them."""

from __future__ import annotations

import io
import tarfile

import pytest

from wavelet.archive.tar_attributes import Attributes, attributes_of, is_device, is_fifo
from wavelet.archive.tar_reader import Bounds, Member, members_of
from wavelet.errors import UpstreamBroken


def read(info: tarfile.TarInfo, form: int = tarfile.PAX_FORMAT) -> Member:
    """Return a member that was written by `tarfile`."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form, errors="surrogateescape") as whole:
        whole.addfile(info)
    (member,) = members_of(io.BytesIO(out.getvalue()), Bounds(10**6, UpstreamBroken))
    return member


def info(**also: object) -> tarfile.TarInfo:
    """Return a member."""
    made = tarfile.TarInfo("file")
    for name, value in also.items():
        setattr(made, name, value)
    return made


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_headers_say_who_owns_it(form: int) -> None:
    said = attributes_of(read(info(mode=0o106751, uid=1000, gid=2_000_000, mtime=7), form))
    assert said == Attributes(0o6751, 1000, 2_000_000, 7, {})


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_owners_may_have_large_numbers(form: int) -> None:
    said = attributes_of(read(info(uid=2**32 - 2, gid=2**40), form))
    assert (said.uid, said.gid) == (2**32 - 2, 2**40)


def test_records_of_extended_attributes_are_read() -> None:
    records = {"SCHILY.xattr.user.a": "x\ny=z", "SCHILY.xattr.security.capability": "\x01\udcff", "comment": "no"}
    kept = {b"user.a": b"x\ny=z", b"security.capability": b"\x01\xff"}
    assert attributes_of(read(info(pax_headers=records))).xattrs == kept


def test_a_record_without_a_value_says_nothing() -> None:
    # POSIX.1-2001, pax, "Extended Header"; so do the tar readers of engines.
    member = read(info(pax_headers={"SCHILY.xattr.user.a": "", "size": "", "uid": "", "path": ""}))
    assert (member.path, member.size) == ("file", 0)
    assert attributes_of(member).xattrs == {}


@pytest.mark.parametrize(
    ("said", "seconds"),
    [("5", 5), ("1700000000.999999999", 1_700_000_000), ("-0.5", -1), ("-3.0", -3), (".25", 0)],
)
def test_times_are_rounded_down(said: str, seconds: int) -> None:
    assert attributes_of(read(info(pax_headers={"mtime": said}))).mtime == seconds


def test_an_owner_that_is_no_number_is_an_error() -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        attributes_of(read(info(pax_headers={"uid": "root"})))


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (tarfile.FIFOTYPE, (True, False)),
        (tarfile.CHRTYPE, (False, True)),
        (tarfile.BLKTYPE, (False, True)),
        (tarfile.REGTYPE, (False, False)),
        (tarfile.DIRTYPE, (False, False)),
    ],
)
def test_pipes_and_devices_are_told_apart(kind: bytes, expected: tuple[bool, bool]) -> None:
    member = read(info(type=kind))
    assert (is_fifo(member), is_device(member)) == expected
