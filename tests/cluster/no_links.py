"""A file system without hard links, as FAT, some FUSE file systems and object stores behind them are."""

from __future__ import annotations

import errno
import os
from typing import NoReturn


def link(*_: object) -> NoReturn:
    """Answer as `link(2)` does there."""
    raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
