"""Hard links to lower layers: found as they were when the layer was made, whatever became of the target above."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from made_layers import Made, directory, symlink, write_layer

from wavelet.errors import UpstreamBroken
from wavelet.kinds.sif.compose.links import Links
from wavelet.kinds.sif.segments.index import Entry, read_index


def link(path: bytes, target: bytes) -> Made:
    return Made(path, "link", target=target)


def found(place: Path, layers: Sequence[Sequence[Made]], path: bytes = b"link") -> tuple[int, bytes, int]:
    """Return the layer and path that the topmost layer's link is, and how many names that has."""
    indexes = [write_layer(place / str(at), layer).index.read_bytes() for at, layer in enumerate(layers)]

    @contextmanager
    def opened() -> Iterator[list[Iterator[Entry]]]:
        yield [read_index(io.BytesIO(index))[1] for index in indexes]

    links = Links([read_index(io.BytesIO(index))[0] for index in indexes], opened)
    (entry,) = (each for each in opened().__enter__()[-1] if each.path == path)
    layer, target = links.followed(len(layers) - 1, entry)
    return layer, target.path, links.names(links.identity(layer, target))


F = Made(b"d/f", content=b"f")


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ([[F], [link(b"link", b"d/f")]], (0, b"d/f", 2)),
        ([[F], [F], [link(b"link", b"d/f")]], (1, b"d/f", 2)),
        # What shows of it afterwards is another file.
        ([[F], [link(b"link", b"d/f"), link(b"more", b"d/f")], [F, link(b"link", b"more")]], (0, b"d/f", 2)),
        ([[Made(b"a")], [link(b"b", b"a")], [Made(b"a")], [link(b"link", b"b")]], (0, b"a", 2)),
        # Two names in the lower layer already.
        ([[Made(b"a", same=1), Made(b"b", same=1)], [link(b"link", b"b")]], (0, b"b", 3)),
        # By symbolic links on the way, one of which is known only when the other was followed; never the last one.
        ([[F, symlink(b"s", b"d")], [link(b"link", b"s/f")]], (0, b"d/f", 2)),
        ([[F, symlink(b"x/s", b"/d")], [link(b"link", b"x/s/f")]], (0, b"d/f", 2)),
        ([[F, symlink(b"x/y/s", b"../../t"), symlink(b"t", b"./d/.")], [link(b"link", b"x/y/s/f")]], (0, b"d/f", 2)),
        ([[F, symlink(b"x/s", b"../../../d//")], [link(b"link", b"x/s/f")]], (0, b"d/f", 2)),
        ([[F, symlink(b"d/s", b"f")], [link(b"link", b"d/s")]], (0, b"d/s", 2)),
        # By a hard link to a symbolic link.
        ([[F, symlink(b"s", b"d")], [link(b"t", b"s")], [link(b"link", b"t/f")]], (0, b"d/f", 2)),
        ([[Made(b"p", "fifo")], [link(b"link", b"p")]], (0, b"p", 2)),
    ],
)  # fmt: skip
def test_a_link_is_what_the_layers_below_have(
    tmp_path: Path, layers: list[list[Made]], expected: tuple[int, bytes, int]
) -> None:
    assert found(tmp_path, layers) == expected


@pytest.mark.parametrize(
    "layers",
    [
        [[F], [link(b"link", b"d/g")]],
        [[F], [link(b"link", b"d")]],
        [[F], [link(b"link", b"d/f/g")]],
        [[F], [directory(b"d", opaque=True)], [link(b"link", b"d/f")]],
        [[F], [directory(b"", opaque=True)], [link(b"link", b"d/f")]],
        [[F], [Made(b"d", "whiteout")], [link(b"link", b"d/f")]],
        [[Made(b"a")], [link(b"link", b"link")]],
        [[symlink(b"s", b"t"), symlink(b"t", b"s")], [link(b"link", b"s/f")]],
        [[symlink(b"s", b"s/s")], [link(b"link", b"s/f")]],
    ],
)
def test_a_link_to_no_file_is_named(tmp_path: Path, layers: list[list[Made]]) -> None:
    with pytest.raises(UpstreamBroken, match=f"layer {len(layers)} has 'link' as a hard link to"):
        found(tmp_path, layers)


def test_a_link_that_does_not_show_may_lead_nowhere(tmp_path: Path) -> None:
    assert found(tmp_path, [[F], [link(b"x", b"nothing")], [Made(b"x"), link(b"link", b"d/f")]]) == (0, b"d/f", 2)
