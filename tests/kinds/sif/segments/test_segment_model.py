"""Whatever is in a layer, its segment has what unpacking it into an empty directory gives, and what it hides."""

from __future__ import annotations

import tarfile
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from layer_model import Unpackable, unpacked
from segment_lab import Segment, link, member, packed, segment, symlink

from wavelet.archive.squashfs.codecs import BLOCK
from wavelet.errors import UpstreamBroken

NAMES = st.sampled_from([b"a", b"b", b"c", b"\xff", b"d-"])
PATHS = st.one_of(
    st.lists(NAMES, min_size=1, max_size=3).map(b"/".join),
    st.lists(st.one_of(NAMES, st.sampled_from([b"..", b".", b""])), min_size=1, max_size=4).map(b"/".join),
)
TARGETS = st.one_of(PATHS, PATHS.map(lambda path: b"/" + path), st.sampled_from([b"/", b"..", b"../.."])).filter(bool)
CONTENTS = st.sampled_from([b"", b"x", b"y" * 100, bytes(500), b"z" * (BLOCK + 1), bytes(BLOCK) + b"end"])
MODES = st.sampled_from([0o644, 0o755, 0o4711])


def whiteout(path: bytes) -> tuple[tarfile.TarInfo, bytes]:
    """Return the member that hides a path."""
    parent, slash, name = path.rpartition(b"/")
    return member(parent + slash + b".wh." + name)


NORMAL = PATHS.filter(lambda path: path.rpartition(b"/")[2] not in (b"", b".", b".."))
MEMBERS = st.one_of(
    st.builds(lambda path, data, mode: member(path, data=data, mode=mode), NORMAL, CONTENTS, MODES),
    st.builds(lambda path, mode: member(path, tarfile.DIRTYPE, mode=mode), PATHS, MODES),
    st.builds(symlink, NORMAL, TARGETS),
    st.builds(link, NORMAL, PATHS),
    st.builds(lambda path: member(path, tarfile.FIFOTYPE), NORMAL),
    st.builds(lambda path: member(path, tarfile.CHRTYPE), NORMAL),
    st.builds(whiteout, NORMAL),
    st.builds(lambda path: member(path + b"/.wh..wh..opq"), PATHS),
)


@settings(max_examples=100, deadline=None)
@given(st.lists(MEMBERS, max_size=14))
def test_a_segment_is_what_unpacking_gives(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        try:
            made: Segment | None = segment(packed(members), Path(scratch) / "segment")
        except UpstreamBroken as error:
            assert "sha256:of-the-layer" in error.message
            made = None
    try:
        expected = unpacked(members).described()
    except Unpackable:
        assert made is None
        return
    assert made is not None
    assert described(made) == expected
    assert set(made.header.targets) == {said[3] for said in expected.values() if said[0] == "link"}
    assert made.header.links or not any(said[0] == "link" or any(said[4:5]) for said in expected.values())


def described(made: Segment) -> dict[bytes, tuple[object, ...]]:
    """Return what a segment says of every path, as the model does."""
    names: dict[int, list[bytes]] = {}
    for entry in made.entries.values():
        if entry.inode:
            names.setdefault(entry.inode, []).append(entry.path)
    found: dict[bytes, tuple[object, ...]] = {}
    for path, entry in made.entries.items():
        if entry.kind == "whiteout":
            found[path] = ("whiteout",)
            continue
        group = names.get(entry.inode, [])
        first = min(tuple(each.split(b"/")) for each in group) if len(group) > 1 else None
        content = made.content(path) if entry.kind == "file" else b""
        found[path] = (entry.kind, entry.mode, content, entry.target, first, entry.opaque, entry.implied)
    return found
