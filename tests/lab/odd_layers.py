"""Layers with whatever a tar may have: owners, modes, times, links, names that are no text, attributes, whiteouts."""

from __future__ import annotations

import gzip
import os
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from lab import images

BLOCK = 128 * 1024
"""Bytes of a block of a squashfs image."""

CAPABILITY = bytes.fromhex("0100000200040000000000000000000000000000")
"""`cap_net_bind_service`, effective, as the kernel keeps it."""

_UNIT = tarfile.BLOCKSIZE


@dataclass(frozen=True)
class Member:
    """An entry of a tar."""

    name: bytes
    kind: bytes = tarfile.REGTYPE
    content: bytes = b""
    target: bytes = b""
    mode: int = 0o644
    owner: tuple[int, int] = (0, 0)
    mtime: float = 1_000_000_000
    xattrs: Mapping[str, bytes] = field(default_factory=dict)

    def header(self) -> bytes:
        """Return its blocks before the content: GNU's, where nothing needs PAX."""
        info = tarfile.TarInfo(os.fsdecode(self.name))
        info.type, info.mode, info.size = self.kind, self.mode, len(self.content)
        info.uid, info.gid = self.owner
        info.linkname = os.fsdecode(self.target)
        info.devmajor, info.devminor = (1, 3) if self.kind in (tarfile.CHRTYPE, tarfile.BLKTYPE) else (0, 0)
        info.pax_headers = {f"SCHILY.xattr.{name}": os.fsdecode(value) for name, value in self.xattrs.items()}
        needs_pax = bool(self.xattrs) or self.mtime != int(self.mtime)
        info.mtime = self.mtime if needs_pax else int(self.mtime)
        return info.tobuf(tarfile.PAX_FORMAT if needs_pax else tarfile.GNU_FORMAT, "utf-8", "surrogateescape")


def file(name: bytes, content: bytes = b"", **about: object) -> Member:
    """Return a regular file."""
    return Member(name, content=content, **about)  # type: ignore[arg-type]


def directory(name: bytes, mode: int = 0o755, **about: object) -> Member:
    """Return a directory."""
    return Member(name, tarfile.DIRTYPE, mode=mode, **about)  # type: ignore[arg-type]


def link(name: bytes, target: bytes, **about: object) -> Member:
    """Return a symbolic link."""
    return Member(name, tarfile.SYMTYPE, target=target, mode=0o777, **about)  # type: ignore[arg-type]


def hard_link(name: bytes, first: Member) -> Member:
    """Return another name of an entry before; a tar says its attributes once more."""
    return replace(first, name=name, kind=tarfile.LNKTYPE, content=b"", target=first.name, xattrs={})


def whiteout(name: bytes) -> Member:
    """Return what takes a path of lower layers away."""
    above, _, last = name.rpartition(b"/")
    return Member((above + b"/" if above else b"") + b".wh." + last, mode=0o600)


def opaque(name: bytes) -> Member:
    """Return what hides all that lower layers have in a directory."""
    return Member(name + b"/.wh..wh..opq", mode=0o600)


def tar(*members: Member) -> bytes:
    """Return a tar of these entries in their order."""
    parts = []
    for member in members:
        parts += [member.header(), member.content, bytes(-len(member.content) % _UNIT)]
    return b"".join([*parts, bytes(2 * _UNIT)])


def layer(*members: Member) -> images.Layer:
    """Return a layer of these entries."""
    made = tar(*members)
    return images.Layer(made, gzip.compress(made, 1, mtime=0))
