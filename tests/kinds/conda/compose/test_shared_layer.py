"""Layers put together of several: their bytes are their members', and they say the truth about themselves."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from pathlib import Path

import pytest

from wavelet.archive.gzip_members import Fragment
from wavelet.errors import Internal
from wavelet.image.reference import Digest
from wavelet.kinds.conda.compose import shared_layer
from wavelet.kinds.conda.compose.shared_layer import Piece
from wavelet.kinds.conda.link.prefix_layer import prefix_layer


def piece(path: Path, files: dict[str, bytes], links: dict[str, str] | None = None) -> Piece:
    """Write a layer with these files, and links to the first of them where a target begins with `=`."""
    with prefix_layer(path, ["", "lib"]) as layer:
        for name, data in files.items():
            layer.file(name, data, 1_600_000_000, executable=name.startswith("lib/x"))
        for name, target in (links or {}).items():
            if target.startswith("="):
                layer.hard_link(name, target[1:], 1_600_000_000, executable=False)
            else:
                layer.symlink(name, target, 1_600_000_000)
        written = layer.finish()
    return Piece(path, written.fragment)


def entries(path: Path) -> tarfile.TarFile:
    """Return the tar of a blob."""
    return tarfile.open(fileobj=io.BytesIO(gzip.decompress(path.read_bytes())))


def well(path: Path, made: shared_layer.Composed) -> bool:
    """Tell whether a blob is what is said of it."""
    data = path.read_bytes()
    diff_id = f"sha256:{hashlib.sha256(gzip.decompress(data)).hexdigest()}"
    return (Digest.of(data), len(data), diff_id) == (made.digest, made.size, made.diff_id)


def test_a_tail_is_its_members_bytes(tmp_path: Path) -> None:
    one = piece(tmp_path / "one", {"lib/a": b"a" * 200_000, "lib/x": b"x"}, {"lib/l": "a"})
    other = piece(tmp_path / "other", {"lib/" + "long" * 40: b"b", "lib/ü": b"c"})
    made = shared_layer.compose(tmp_path / "tail", ["", "lib"], [one, other])
    assert well(tmp_path / "tail", made)
    data = (tmp_path / "tail").read_bytes()
    for member in (one, other):
        start, length = member.fragment.offset, member.fragment.length
        assert member.blob.read_bytes()[start : start + length] in data
    tar = entries(tmp_path / "tail")
    names = ["", "lib", "lib/a", "lib/x", "lib/l", "lib/" + "long" * 40, "lib/ü"]
    assert tar.getnames() == [f"opt/conda/{name}".rstrip("/") for name in names]
    assert [m.mode for m in tar.getmembers()] == [0o755, 0o755, 0o644, 0o755, 0o777, 0o644, 0o644]


def test_a_tail_of_one_layer_is_that_layer(tmp_path: Path) -> None:
    one = piece(tmp_path / "one", {"lib/a": b"a"})
    shared_layer.compose(tmp_path / "tail", ["", "lib"], [one])
    assert (tmp_path / "tail").read_bytes() == one.blob.read_bytes()


@pytest.mark.parametrize(
    "wrong",
    [
        lambda f: (
            f._replace(inflated=f.inflated + 1)
            if hasattr(f, "_replace")
            else Fragment(f.offset, f.length, f.inflated + 1)
        ),
        lambda f: Fragment(f.offset, f.length - 1, f.inflated),
        lambda f: Fragment(f.offset, f.length + 1, f.inflated),
    ],
    ids=["inflated", "short", "long"],
)
def test_a_record_that_is_wrong(tmp_path: Path, wrong: object) -> None:
    one = piece(tmp_path / "one", {"lib/a": b"a"})
    broken = one._replace(fragment=wrong(one.fragment))  # type: ignore[operator]
    with pytest.raises(Internal, match="one of the store"):
        shared_layer.compose(tmp_path / "tail", ["", "lib"], [broken])


def test_a_blob_that_is_damaged(tmp_path: Path) -> None:
    one = piece(tmp_path / "one", {"lib/a": bytes(range(256)) * 100})
    data = bytearray(one.blob.read_bytes())
    data[one.fragment.offset + one.fragment.length - 5] ^= 1
    one.blob.write_bytes(data)
    with pytest.raises(Internal, match="one of the store"):
        shared_layer.compose(tmp_path / "tail", ["", "lib"], [one])


def test_a_merged_layer_leaves_out_what_is_lost(tmp_path: Path) -> None:
    one = piece(tmp_path / "one", {"lib/a": b"lost", "lib/x": b"x"}, {"lib/hard": "=lib/a", "lib/soft": "a"})
    other = piece(tmp_path / "other", {"lib/a": b"kept"})
    lost = one._replace(lost=frozenset(["lib/a", "lib/soft"]))
    made = shared_layer.merge(tmp_path / "layer", ["", "lib"], [lost, other])
    assert well(tmp_path / "layer", made)
    tar = entries(tmp_path / "layer")
    contents = {m.name: tar.extractfile(m).read() for m in tar.getmembers() if m.isfile()}  # type: ignore[union-attr]
    assert contents == {"opt/conda/lib/x": b"x", "opt/conda/lib/hard": b"lost", "opt/conda/lib/a": b"kept"}
    assert tar.getmember("opt/conda/lib/x").mode == 0o755
    assert {m.mtime for m in tar.getmembers() if m.isfile()} == {1_600_000_000}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["layer", "one", "other"], "nothing is left lying about"
