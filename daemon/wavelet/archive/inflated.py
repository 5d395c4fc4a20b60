"""The tar of an image's layer, however it is compressed: its first bytes tell, for a media type may be wrong."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import zstandard
from isal import igzip

from wavelet.archive.tar_reader import Raw

_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"


@contextmanager
def open_inflated(layer: Path) -> Iterator[Raw]:
    """Open the tar of a layer's file: plain, gzip or zstd. Damage shows while it is read."""
    with layer.open("rb") as file:
        start = file.read(4)
        file.seek(0)
        if start.startswith(_GZIP):
            with igzip.open(file) as inflating:  # type: ignore[no-untyped-call]
                yield inflating
        elif start == _ZSTD:
            with zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True) as inflating:
                yield inflating
        else:
            yield file
