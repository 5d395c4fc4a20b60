"""Files of engines' configuration: read whole, written atomically, through links and with the modes that they have."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

from wavelet.cli.setup.plan import Change
from wavelet.errors import NotStarted

NEW_MODE = 0o644
"""Of a file that was not there: other users' engines read it."""


def read(path: Path) -> str | None:
    """Return a file's text, as it is to the byte; None if there is none.

    Raises:
        NotStarted: it is no text, or cannot be read.
    """
    try:
        if path.exists() and not path.is_file():
            raise NotStarted(f"{path} is no file, and is left as it is")
        return path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        return None
    except UnicodeDecodeError:
        raise NotStarted(f"{path} is not text in UTF-8, and is left as it is") from None
    except OSError as error:
        raise NotStarted(f"{path} cannot be read: {error.strerror}{_hint(error)}") from None


def make(change: Change) -> None:
    """Write or remove a file. Whoever reads it meanwhile has it whole, as it was or as it will be.

    Raises:
        NotStarted: it cannot be written or removed, or has changed since the plan was made.
    """
    if read(change.path) != change.before:
        raise NotStarted(f"{change.path} was changed meanwhile; run the command again")
    if change.after is None:
        _remove(change.path)
    else:
        _write(change.path.resolve(), change.after)


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            found = path.stat()
            return _replace(path, text, found.st_mode & 0o7777, (found.st_uid, found.st_gid))
        return _replace(path, text, NEW_MODE, None)
    except OSError as error:
        raise NotStarted(f"{path} cannot be written: {error.strerror}{_hint(error)}") from None


def _replace(path: Path, text: str, mode: int, owner: tuple[int, int] | None) -> None:
    descriptor, name = tempfile.mkstemp(prefix=".wavelet-", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
            file.write(text)
            if owner is not None and owner != (os.geteuid(), os.getegid()):
                os.fchown(file.fileno(), *owner)
            os.fchmod(file.fileno(), mode)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise


def _remove(path: Path) -> None:
    try:
        path.unlink()
    except OSError as error:
        raise NotStarted(f"{path} cannot be removed: {error.strerror}{_hint(error)}") from None


def _hint(error: OSError) -> str:
    return (
        "; files of the node need root, and --user is for an engine of one's own"
        if isinstance(error, PermissionError)
        else ""
    )
