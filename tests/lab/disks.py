"""File systems in memory, which a test may fill or make read-only, and one that has no hard links."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from groups import program


@contextmanager
def mounted(place: Path, size: str | None = None) -> Iterator[Path]:
    """Give the new directory `place` on a file system of its own, of `size` (`100m`); skip where it cannot be had."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to mount a file system")
    place.mkdir()
    options = () if size is None else ("-o", f"size={size}")
    made = subprocess.run(["mount", "-t", "tmpfs", *options, "tmpfs", place], capture_output=True, check=False)
    if made.returncode:
        pytest.skip(f"cannot mount a file system here: {made.stderr.decode().strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", place], check=True)


@contextmanager
def without_hard_links(place: Path) -> Iterator[Path]:
    """Give the new directory `place` on exFAT; skip where it cannot be had. For tests of the group `exfat`."""
    place.mkdir()
    disk = place.with_name(f"{place.name}.img")
    disk.touch()
    os.truncate(disk, 32 * 1024 * 1024)
    subprocess.run([_program("mkfs.exfat"), disk], check=True, capture_output=True)
    attached = subprocess.run([_program("losetup"), "--find", "--show", disk], capture_output=True, check=False)
    if attached.returncode:
        pytest.skip(f"cannot attach a disk here: {attached.stderr.decode().strip()}")
    device = attached.stdout.decode().strip()
    try:
        made = subprocess.run([_program("mount.exfat-fuse"), device, place], capture_output=True, check=False)
        if made.returncode or not place.is_mount():
            pytest.skip(f"cannot mount a file system here: {made.stderr.decode().strip()}")
        try:
            yield place
        finally:
            subprocess.run(["umount", place], check=True)
    finally:
        subprocess.run([_program("losetup"), "--detach", device], check=True)


def _program(name: str) -> str:
    found = program(name)
    assert found is not None, name
    return found
