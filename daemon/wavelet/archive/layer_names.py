"""Names in layers: where a member of a tar belongs, and which ones say that something is hidden. Pure, of bytes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

NAME_LIMIT = 255
"""Bytes of one component of a path, as every file system of Linux has it, and squashfs."""

PATH_LIMIT = 4095
"""Bytes of a path and of a symbolic link's target: no engine could unpack a longer one (PATH_MAX)."""

FOLLOWED: Final = 40
"""Symbolic links that are followed on the way to a file, as in the kernel (MAXSYMLINKS)."""

_WHITEOUT: Final = b".wh."
_BELOW: Final = b"/.wh."
_META: Final = b".wh..wh."
_OPAQUE: Final = b".wh..wh..opq"
"""Names that say what is hidden (OCI image layer specification, "Whiteouts"), and those that were AUFS's own."""


class UnfitName(ValueError):
    """A name that no file system could have."""


def raw(name: str) -> bytes:
    """Return a name as a tar has it."""
    return name.encode("utf-8", "surrogateescape")


def cleaned(name: bytes) -> bytes:
    """Return a path from the root on, without slashes at its ends, `.`, and `..`, which never leads out of the root.

    Raises:
        UnfitName: it cannot be one of a file.
    """
    if name[:1] in (b".", b"/") or b"/." in name or b"//" in name or name.endswith(b"/"):
        parts: list[bytes] = []
        for part in name.split(b"/"):
            if part == b"..":
                del parts[-1:]
            elif part not in (b"", b"."):
                parts.append(part)
        name = b"/".join(parts)
    return fitting(name)


def fitting(path: bytes) -> bytes:
    """Return a path, or raise `UnfitName`."""
    if b"\0" in path:
        raise UnfitName("it has a zero byte in it")
    if len(path) > NAME_LIMIT:
        if len(path) > PATH_LIMIT:
            raise UnfitName(f"it has more than {PATH_LIMIT} bytes")
        if max(map(len, path.split(b"/"))) > NAME_LIMIT:
            raise UnfitName(f"it has a part of more than {NAME_LIMIT} bytes")
    return path


def fitting_target(target: bytes) -> bytes:
    """Return what a symbolic link leads to, or raise `UnfitName`."""
    if not target or b"\0" in target or len(target) > PATH_LIMIT:
        raise UnfitName(f"a symbolic link leads to between 1 and {PATH_LIMIT} bytes, none of them zero")
    return target


def is_reserved(path: bytes) -> bool:
    """Tell whether a name, or that of a directory above it, stands for no file but says what is hidden."""
    return path.startswith(_WHITEOUT) or _BELOW in path


def hidden(name: bytes) -> bytes | None:
    """Return which name a reserved one hides: empty for all of its directory, None for nothing."""
    if name == _OPAQUE:
        return b""
    gone = name.removeprefix(_WHITEOUT)
    return None if name.startswith(_META) or gone in (b"", b".", b"..") else gone


def led_to(path: bytes, target_of: Callable[[bytes], bytes | None]) -> bytes:
    """Return where a path leads, never out of the root; what is not there is taken for directories.

    Args:
        path: as it is written, `..` and all.
        target_of: tells where the symbolic link at a path leads; None: none is there.

    Raises:
        UnfitName: more than `FOLLOWED` links are on the way.
    """
    left, at, followed = path.split(b"/")[::-1], b"", 0
    while left:
        name = left.pop()
        if name == b"..":
            at = at.rpartition(b"/")[0]
        elif name not in (b"", b"."):
            below = at + b"/" + name if at else name
            target = target_of(below)
            if target is None:
                at = below
                continue
            followed += 1
            if followed > FOLLOWED:
                raise UnfitName(f"symbolic links on the way to {path!r} lead in a circle")
            at = b"" if target.startswith(b"/") else at
            left += target.split(b"/")[::-1]
    return at
