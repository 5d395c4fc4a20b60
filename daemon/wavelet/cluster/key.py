"""The cluster's key, under which tokens are made. All nodes of a cluster have the same; it never leaves its file."""

from __future__ import annotations

import os
import secrets
import stat
import time
from pathlib import Path

import structlog

from wavelet import plain_files
from wavelet.cluster.publish import make_directory, publish_new
from wavelet.config import ConfigError, Settings
from wavelet.plain_files import NotPlainError
from wavelet.plan.tokens import KEY_BYTES

log = structlog.get_logger()

KEY_NAME = "cluster.key"

KEY_LIMIT = 4096
"""Bytes of a file that are looked at to say how many it has."""

_ATTEMPTS = 20
_PAUSE = 0.1
"""Another node's new file may be unseen for a moment where a network file system caches absences."""


def key_path(settings: Settings) -> Path:
    """Return where the key is: where the settings say, else beside the records."""
    if settings.records.key_file:
        return Path(settings.records.key_file).expanduser().absolute()
    if settings.records.directory:
        return Path(settings.records.directory).expanduser().absolute() / KEY_NAME
    return settings.state_directory / KEY_NAME


def load_key(path: Path) -> bytes:
    """Return the key, making it if there is none; daemons that start at once agree on one. Blocking: for the start.

    Raises:
        ConfigError: it cannot be read or made, others can read it, or it has the wrong size.
    """
    try:
        for _ in range(_ATTEMPTS):
            try:
                return _read(path)
            except FileNotFoundError:
                make_directory(path.parent)
                if publish_new(path, secrets.token_bytes(KEY_BYTES), time.time()):
                    # A directory that is not mounted, or is misspelt, looks like a new one.
                    log.info("made a new cluster key; nodes with another one know none of its names", path=str(path))
                else:
                    time.sleep(_PAUSE)
        raise ConfigError(f"{path}: the cluster key exists and cannot be opened; look whether it is a dangling link")
    except PermissionError as error:
        if not os.path.lexists(path):
            raise _unusable(path, error) from None
        raise ConfigError(
            f"{path}: the cluster key is there, and the daemon's user (uid {os.geteuid()}) may not read it; let it be "
            "that user's file. All nodes have to have the same key",
            field="records.key_file",
        ) from None
    except OSError as error:
        raise _unusable(path, error) from None


def _unusable(path: Path, error: OSError) -> ConfigError:
    return ConfigError(
        f"{path}: the cluster key cannot be read or made: {error.strerror}; make it by hand, "
        f"`(umask 077; head -c {KEY_BYTES} /dev/urandom > FILE)`, and name the file in `records.key_file`",
        field="records.key_file",
    )


def _read(path: Path) -> bytes:
    try:
        key, status = plain_files.read(path, KEY_LIMIT, follow=True)
    except NotPlainError as error:
        message = f"{path}: the cluster key has to be a plain file of {KEY_BYTES} bytes, but {error.strerror}"
        raise ConfigError(message, field="records.key_file") from None
    if status.st_mode & 0o077:
        mode = stat.S_IMODE(status.st_mode)
        message = f"{path}: others can use the cluster key (mode {mode:04o}); run `chmod 600 {path}`"
        raise ConfigError(message, field="records.key_file")
    if len(key) != KEY_BYTES:
        raise ConfigError(
            f"{path}: a cluster key has {KEY_BYTES} bytes, not {status.st_size}; put the right file back, or remove it "
            "on all nodes (names given so far are then lost)",
            field="records.key_file",
        )
    return key
