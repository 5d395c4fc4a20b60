"""What may lie in a directory that others can write to, in the place of a file."""

from __future__ import annotations

import os
import shutil
import socket
import uuid
from collections.abc import Callable
from pathlib import Path

HUGE = 3 * 1024**3


def pipe(path: Path) -> None:
    os.mkfifo(path)


def directory(path: Path) -> None:
    path.mkdir()


def huge_file(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(HUGE)


def dangling_link(path: Path) -> None:
    path.symlink_to("nowhere")


def link(path: Path) -> None:
    path.symlink_to("/dev/zero")


def listener(path: Path) -> None:
    short = f"/tmp/wavelet-{uuid.uuid4().hex}"  # the path of a socket has 107 bytes at most
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(short)
    shutil.move(short, path)


INTRUDERS: tuple[Callable[[Path], None], ...] = (pipe, directory, huge_file, link, dangling_link, listener)


def replace(path: Path, intruder: Callable[[Path], None]) -> None:
    """Put an intruder in the place of a file."""
    path.unlink(missing_ok=True)
    intruder(path)
