"""Layers' files are opened by what their first bytes say, and damage is told as such."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path

import pytest
import zstandard

from wavelet.archive.inflated import open_inflated
from wavelet.archive.tar_reader import Bounds, members_of
from wavelet.errors import UpstreamBroken


def packed() -> bytes:
    """Return a tar with one file."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as whole:
        member = tarfile.TarInfo("file")
        member.size = 3
        whole.addfile(member, io.BytesIO(b"abc"))
    return out.getvalue()


def read(layer: Path) -> dict[str, bytes]:
    """Return the files of a layer."""
    with open_inflated(layer) as raw:
        return {m.path: b"".join(m.chunks()) for m in members_of(raw, Bounds(10**6, UpstreamBroken))}


def compressed(how: str) -> bytes:
    """Return the tar as it is, or compressed."""
    if how == "gzip":
        return gzip.compress(packed())
    return zstandard.compress(packed()) if how == "zstd" else packed()


@pytest.mark.parametrize("how", ["none", "gzip", "zstd"])
def test_first_bytes_say_how_a_layer_is_compressed(how: str, tmp_path: Path) -> None:
    (tmp_path / "layer").write_bytes(compressed(how))
    assert read(tmp_path / "layer") == {"file": b"abc"}


NO_BLOCK = b"\x07"
"""The first byte of a deflate stream whose block is of no type (RFC 1951, 3.2.3)."""


@pytest.mark.parametrize(
    "data",
    [
        compressed("gzip")[:10] + NO_BLOCK + compressed("gzip")[11:],
        compressed("gzip")[:-8] + bytes(8),
        compressed("gzip")[:40],
        compressed("zstd")[:4] + b"\xff" * 40,
        packed()[:600],
    ],
    ids=["a block of no type", "a wrong checksum", "gzip cut short", "zstd that is none", "a tar cut short"],
)
def test_damage_is_told_as_such(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "layer").write_bytes(data)
    with pytest.raises(UpstreamBroken, match="the archive is"):
        read(tmp_path / "layer")
