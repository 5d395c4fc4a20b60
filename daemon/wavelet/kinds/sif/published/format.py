"""What the first bytes of a file say of its format. Pure.

Apptainer and Singularity run SIF files, and squashfs images as Singularity 2 made them: bare, or behind a line that
starts the program when the file is executed.
"""

from __future__ import annotations

LEAST = 128
"""Bytes that tell the format: the header of a SIF."""

_SIF_MAGIC = b"SIF_MAGIC\0"
_SIF_MAGIC_AT = 32
_SQUASHFS_MAGIC = b"hsqs"
_LAUNCHER = b"run-singularity"


def is_runnable(first: bytes) -> bool:
    """Tell whether a file that begins with `first`, `LEAST` bytes of it or all, is a SIF or a squashfs image."""
    if first[_SIF_MAGIC_AT : _SIF_MAGIC_AT + len(_SIF_MAGIC)] == _SIF_MAGIC:
        return True
    line, newline, rest = first.partition(b"\n")
    if newline and line.startswith(b"#!") and line.endswith(_LAUNCHER):
        return rest.startswith(_SQUASHFS_MAGIC)
    return first.startswith(_SQUASHFS_MAGIC)
