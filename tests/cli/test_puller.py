"""The small client of `wavelet demo`: what it unpacks."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path

import pytest

from wavelet.cli.demo.puller import _unpack
from wavelet.errors import UpstreamBroken


def layer_of(*members: tuple[str, bytes]) -> bytes:
    """Return a layer; an empty content makes a directory, and one that begins with `->` a link."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content in members:
            member = tarfile.TarInfo(name)
            if content.startswith(b"->"):
                member.type, member.linkname = tarfile.SYMTYPE, content[2:].decode()
            elif not content:
                member.type = tarfile.DIRTYPE
            member.size = 0 if member.issym() else len(content)
            tar.addfile(member, io.BytesIO(content))
    return gzip.compress(out.getvalue())


def test_the_files_of_a_layer_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fault D1: `tarfile` of Python 3.11.2 has no filters, and `make run` ended with a TypeError there."""
    monkeypatch.delattr(tarfile, "data_filter", raising=False)
    monkeypatch.delattr(tarfile.TarFile, "extractall")
    for _ in range(2):
        _unpack(layer_of(("bin", b""), ("bin/tool", b"#!"), ("/etc/x", b"y"), ("away", b"->/etc")), tmp_path)
    assert (tmp_path / "bin" / "tool").read_bytes() == b"#!"
    assert (tmp_path / "etc" / "x").read_bytes() == b"y"
    assert not (tmp_path / "away").is_symlink()


def test_nothing_is_written_outside(tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    with pytest.raises(UpstreamBroken, match=r"'\.\./away', which leads out of it"):
        _unpack(layer_of(("../away", b"x")), inside)
    assert not (tmp_path / "away").exists()
