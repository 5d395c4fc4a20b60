"""Layers of an environment: tars whose paths are relative to its prefix."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from wavelet.archive import gzip_members
from wavelet.archive.layer_writer import LayerWriter
from wavelet.archive.tar_format import TarEntries
from wavelet.kinds.conda.model.packages import PREFIX

ENTRIES = TarEntries(PREFIX.strip("/"))


def prefix_layer(path: Path, directories: Iterable[str], room: int | None = None) -> LayerWriter:
    """Return the writer of a layer of the prefix; see `LayerWriter`."""
    return LayerWriter(path, ENTRIES, directories, room)


def directories_member(paths: Iterable[str]) -> bytes:
    """Return the first member of a layer. Paths are relative to the prefix, itself (`""`) among them."""
    return gzip_members.member(ENTRIES.directories(paths))
