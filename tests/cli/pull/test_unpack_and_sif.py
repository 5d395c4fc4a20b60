"""Random layers that collide: what is unpacked here and the SIF that the daemon composes are the same tree."""

from __future__ import annotations

import gzip
import os
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from doubles.sif_door import SifDoor
from lab import images, sif, trees
from lab.odd_layers import Member, directory, file, link, opaque, tar, whiteout
from wavelet.archive.squashfs.codecs import GZIP
from wavelet.cli.pull import root_filesystem
from wavelet.cli.pull.daemon_http import DaemonHttp
from wavelet.cli.pull.registry_image import ImageName, RegistryImage
from wavelet.errors import UpstreamBroken
from wavelet.image.reference import DEFAULT_PLATFORM
from wavelet.kinds.sif.compose.compose import SegmentFiles, compose
from wavelet.kinds.sif.segments.maker import DATA, TABLE, make_segment

pytestmark = [
    pytest.mark.squashfs,
    pytest.mark.skipif(os.geteuid() != 0, reason="owners are compared, which root alone may give"),
]

NAMES = st.sampled_from([b"a", b"b", b"a-", b"\xff"])
PATHS = st.lists(NAMES, min_size=1, max_size=3).map(b"/".join)
ODD_PATHS = st.lists(NAMES | st.sampled_from([b"..", b"."]), max_size=3).map(b"/".join)
TARGETS = (PATHS | PATHS.map(lambda path: b"/" + path) | st.sampled_from([b"..", b"/", b"../a"])).filter(bool)
MODES = st.sampled_from([0o644, 0o755, 0o4711, 0o1777])
TIMES = st.integers(0, 2**31)


def joined(above: bytes, name: bytes) -> bytes:
    return above + b"/" + name if above else name


NORMAL = st.builds(joined, ODD_PATHS, NAMES)
MEMBERS = st.one_of(
    st.builds(lambda path, data, mode, time: file(path, data, mode=mode, mtime=time), NORMAL,
              st.binary(max_size=3), MODES, TIMES),
    st.builds(lambda path, mode, time: directory(path, mode, owner=(3, 4), mtime=time), NORMAL, MODES, TIMES),
    st.builds(link, NORMAL, TARGETS),
    st.builds(lambda path, target: Member(path, tarfile.LNKTYPE, target=target), NORMAL, PATHS),
    st.builds(lambda path: Member(path, tarfile.FIFOTYPE), NORMAL),
    st.builds(lambda path: Member(path, tarfile.CHRTYPE), NORMAL),
    st.builds(whiteout, NORMAL),
    st.builds(opaque, PATHS),
)  # fmt: skip
LAYERS = st.lists(st.lists(MEMBERS, max_size=8), min_size=1, max_size=3)


def unpacked(layers: Sequence[bytes], place: Path) -> trees.Tree | None:
    """Return the tree that `--unpack` makes; None: it cannot be."""
    image = images.image([images.Layer(each, gzip.compress(each, 1)) for each in layers], family=images.OCI)
    with SifDoor({f"/v2/a/blobs/{digest}": data for digest, data in image.blobs.items()}) as door:
        door.files["/v2/a/manifests/1"] = image.document
        found = RegistryImage.find(DaemonHttp(door.address), ImageName("a", "1", None), DEFAULT_PLATFORM)
        root_filesystem.prepare(place)
        try:
            root_filesystem.unpack(found, place, lambda *_: None)
        except UpstreamBroken:
            return None
    return trees.read(place)


def composed(layers: Sequence[bytes], place: Path) -> trees.Tree | None:
    """Return the tree of the SIF that is composed of them; None: it cannot be."""
    place.mkdir()
    segments = []
    try:
        for number, layer in enumerate(layers):
            made = place / str(number)
            made.mkdir()
            (place / "layer").write_bytes(layer)
            make_segment(place / "layer", "layer", made, GZIP, 10**9)
            segments.append(SegmentFiles(made / TABLE, made / DATA, (made / DATA).stat().st_size))
        (place / "own").mkdir()
        parts = compose(segments, b"{}", "amd64", GZIP, place / "own")
    except UpstreamBroken:
        return None
    whole = (parts.head.path, *(segment.data for segment in segments), parts.tail.path)
    (place / "image.sif").write_bytes(b"".join(part.read_bytes() for part in whole))
    return trees.read(sif.unpacked(place / "image.sif", place / "tree"))


@settings(
    max_examples=40,
    derandomize=True,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow],
)
@given(LAYERS)
def test_both_are_one_tree(layers: list[list[Member]]) -> None:
    tars = [tar(*each) for each in layers]
    with tempfile.TemporaryDirectory() as scratch:
        mine = unpacked(tars, Path(scratch) / "root")
        theirs = composed(tars, Path(scratch) / "sif")
    # A hard link to nothing ends the unpacking, as in engines; a SIF is in order where an upper layer hides such a one.
    assert mine is None or theirs is not None
    if mine is None or theirs is None:
        return
    kept = {path: entry for path, entry in theirs.items() if path in mine or not is_own(path)}
    assert trees.differences(kept, mine, unequal=lambda path, _: not path) == []


def is_own(path: bytes) -> bool:
    """Tell whether a SIF has a path of its own: Apptainer's scripts and mount points."""
    return path.partition(b"/")[0] not in (b"a", b"b", b"a-", b"\xff")
