"""The disk of who calls: its troubles in a sentence, as they are nobody's but this machine's."""

from __future__ import annotations

import contextlib
import errno
import shutil
from collections.abc import Iterator
from pathlib import Path

from wavelet.errors import CallerError
from wavelet.quantities import size

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class FileError(CallerError):
    """A file cannot be written here, or somebody else writes it."""

    reason = "FILE_ERROR"


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Say why the disk does not do what it should with `path`.

    Raises:
        FileError: it does not.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            message = f"{path.parent} has no room for {path.name} ({error.strerror}); make some and ask again"
            raise FileError(message) from None
        raise FileError(f"{path} cannot be written: {error.strerror or error}") from None


def check_room(directory: Path, wanted: int) -> None:
    """Return if so many bytes are free.

    Raises:
        FileError: they are not.
    """
    free = shutil.disk_usage(directory).free
    if free < wanted:
        raise FileError(f"{directory} has no room for {size(wanted)}: {size(free)} are free; make some and ask again")
