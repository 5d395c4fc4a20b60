"""The SIF format, version 01: a header, a list of what is in the file, and one partition with the root file system.

All as `siftool` (github.com/apptainer/sif) lays it out, with no identity and the time 0: the same image gives the same
bytes everywhere.
"""

from __future__ import annotations

import struct

from wavelet.errors import InvalidRequest

DESCRIPTORS_AT, DESCRIPTORS = 4096, 48
ALIGNMENT = 4096
"""Of the partition: where it begins, and its size. Loop devices leave out what is over a multiple of 512."""

_HEADER = struct.Struct("<32s10s3s3s16s8q")
_DESCRIPTOR = struct.Struct("<i?3I7q128s384s")
_PARTITION = struct.Struct("<2i3s")

_LAUNCH = b"#!/usr/bin/env run-singularity\n"
_TYPE_PARTITION, _FIRST_GROUP = 0x4004, 0xF0000001
_SQUASHFS, _PRIMARY_SYSTEM = 1, 2
_NAME = b"root.squashfs"

_ARCHITECTURES = {
    "386": b"01", "amd64": b"02", "arm": b"03", "arm64": b"04", "ppc64": b"05", "ppc64le": b"06", "mips": b"07",
    "mipsle": b"08", "mips64": b"09", "mips64le": b"10", "s390x": b"11", "riscv64": b"12", "loong64": b"13",
}  # fmt: skip

_DATA_AT = DESCRIPTORS_AT + DESCRIPTORS * _DESCRIPTOR.size
PARTITION_AT = -(-_DATA_AT // ALIGNMENT) * ALIGNMENT
"""Where the partition begins."""


def architecture_code(architecture: str) -> bytes:
    """Return what a SIF calls an architecture, which is named as in OCI platforms.

    Raises:
        InvalidRequest: the format has no word for it.
    """
    code = _ARCHITECTURES.get(architecture)
    if code is None:
        known = ", ".join(_ARCHITECTURES)
        raise InvalidRequest(f"there can be no SIF for {architecture!r}; the format knows {known}")
    return code + b"\0"


def padded(size: int) -> int:
    """Return the size of a partition that has so many bytes of content."""
    return -(-size // ALIGNMENT) * ALIGNMENT


def before_partition(architecture: str, size: int) -> bytes:
    """Return what stands in the file before the partition.

    Args:
        architecture: as in OCI platforms.
        size: of the partition.

    Raises:
        InvalidRequest: see `architecture_code`.
    """
    code = architecture_code(architecture)
    taken = PARTITION_AT - _DATA_AT + size
    header = _HEADER.pack(
        _LAUNCH, b"SIF_MAGIC\0", b"01\0", code, bytes(16), 0, 0, DESCRIPTORS - 1, DESCRIPTORS,
        DESCRIPTORS_AT, DESCRIPTORS * _DESCRIPTOR.size, _DATA_AT, taken,
    )  # fmt: skip
    partition = _PARTITION.pack(_SQUASHFS, _PRIMARY_SYSTEM, code)
    descriptor = _DESCRIPTOR.pack(
        _TYPE_PARTITION, True, 1, _FIRST_GROUP, 0, PARTITION_AT, size, taken, 0, 0, 0, 0, _NAME, partition
    )
    return (header.ljust(DESCRIPTORS_AT, b"\0") + descriptor).ljust(PARTITION_AT, b"\0")
