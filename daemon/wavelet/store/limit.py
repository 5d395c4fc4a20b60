"""The most bytes of blobs of a store: what the settings say, else a share of the disk that the store is on."""

from __future__ import annotations

import shutil
from pathlib import Path

from wavelet.config import parse_size
from wavelet.store.filesystem import MEMORY_FILESYSTEMS, filesystem_type

_LARGEST = 50 * 1000**3
"""Bytes that a store takes at most without having been told to."""

_SHARE_OF_DISK = 5
_SHARE_OF_MEMORY = 20
"""A store without a limit takes the fifth part of the free space, and less where the disk is memory."""


def limit_of(setting: str | int, directory: Path, held: int) -> int:
    """Return what `store.limit` means for a store in `directory` that holds `held` bytes already. Blocking.

    Raises:
        ConfigError: the setting is not a size.
    """
    if setting:
        return parse_size(setting, "store.limit")
    share = _SHARE_OF_MEMORY if filesystem_type(directory) in MEMORY_FILESYSTEMS else _SHARE_OF_DISK
    return min(_LARGEST, (shutil.disk_usage(directory).free + held) // share)
