"""What a member of a tar says of its owner and rights: few readers want it, so it is read only for those who do."""

from __future__ import annotations

from typing import Final, NamedTuple

from wavelet.archive.tar_format import XATTR
from wavelet.archive.tar_reader import Member, number

FIFO: Final = b"6"
DEVICES: Final = (b"3", b"4")
"""Types of entries (POSIX.1-2001, pax, "ustar Interchange Format"): named pipes; character and block devices."""


class Attributes(NamedTuple):
    """What a member has besides its name, kind and contents.

    Attributes:
        mode: permissions, 07777.
        uid, gid: of the owner; of any size and sign.
        mtime: whole seconds since the epoch, rounded down; of any size and sign.
        xattrs: extended attributes by their names.
    """

    mode: int
    uid: int
    gid: int
    mtime: int
    xattrs: dict[bytes, bytes]


def attributes_of(member: Member) -> Attributes:
    """Return what the headers of a member say.

    Raises:
        ValueError: a field is no number.
    """
    header, said = member.header, member.said
    mode, uid, gid = number(header[100:108]) & 0o7777, number(header[108:116]), number(header[116:124])
    if not said:
        return Attributes(mode, uid, gid, member.mtime, {})
    uid, gid = int(said.get(b"uid", uid)), int(said.get(b"gid", gid))
    mtime = _whole(said[b"mtime"]) if b"mtime" in said else member.mtime
    xattrs = {key[len(XATTR) :]: value for key, value in said.items() if key.startswith(XATTR)}
    return Attributes(mode, uid, gid, mtime, xattrs)


def is_fifo(member: Member) -> bool:
    """Tell whether a member is a named pipe."""
    return member.header[156:157] == FIFO


def is_device(member: Member) -> bool:
    """Tell whether a member is a device."""
    return member.header[156:157] in DEVICES


def _whole(seconds: bytes) -> int:
    """Read a decimal number, rounded down: as a float, nanoseconds just before a second would be the next one."""
    whole, _, fraction = seconds.partition(b".")
    return int(whole or b"0") - (seconds.startswith(b"-") and bool(fraction.strip(b"0")))
