"""Extended attributes of a layer's entries: which ones are in the image. Pure.

Those stay that mean the same on every machine, users' own and capabilities, as far as Linux would have taken them when
an engine unpacks the layer. Who unpacks an image, `unsquashfs` for example, gives up at one that Linux refuses.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from wavelet.kinds.sif.segments.index import EntryKind

_USERS: Final = b"user."
_CAPABILITY: Final = b"security.capability"

_NAME_LIMIT, _VALUE_LIMIT = 255, 65536
"""Bytes of a name and of a value (linux/limits.h: XATTR_NAME_MAX, XATTR_SIZE_MAX)."""

_CAPABILITIES: Final = {20: 0x02000000, 24: 0x03000000}
"""What the value of a capability begins with, but for the lowest bit, by its size (VFS_CAP_REVISION_2 and _3 of
linux/capability.h)."""


def kept(kind: EntryKind, xattrs: Mapping[bytes, bytes]) -> list[tuple[bytes, bytes]]:
    """Return which attributes of an entry are in the image, sorted by their names."""
    return sorted((name, value) for name, value in xattrs.items() if _is_kept(kind, name, value))


def _is_kept(kind: EntryKind, name: bytes, value: bytes) -> bool:
    if name == _CAPABILITY:
        return int.from_bytes(value[:4], "little") & ~1 == _CAPABILITIES.get(len(value))
    # Only files and directories have users' own (xattr(7)).
    if not name.startswith(_USERS) or kind not in ("file", "directory"):
        return False
    return len(_USERS) < len(name) <= _NAME_LIMIT and b"\0" not in name and len(value) <= _VALUE_LIMIT
