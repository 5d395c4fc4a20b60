"""Layers merge as overlay file systems have them: random trees that collide, against a slow model of the same."""

from __future__ import annotations

import io
import itertools
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings
from made_layers import Made, directory, image_of, symlink, write_layer, write_sif
from overlay_model import BROKEN, apply_layers

from lab import sif, trees
from wavelet.errors import UpstreamBroken
from wavelet.kinds.sif.compose.links import Links
from wavelet.kinds.sif.compose.merge import merge
from wavelet.kinds.sif.compose.overlay import settle
from wavelet.kinds.sif.compose.runtime_files import MISSING
from wavelet.kinds.sif.segments.index import Entry, read_index

NAMES = (b"a", b"a!", b"\xff")
"""One of which sorts before a slash, and one is no text."""

PATHS = [b"/".join(each) for depth in (0, 1, 2) for each in itertools.product(NAMES, repeat=depth)]
PATHS += [b"/".join(each) for each in itertools.product(NAMES[:2], repeat=3)]
"""So few that layers collide."""

KINDS = ("file", "file", "directory", "directory", "symlink", "fifo", "whiteout", "link")
TARGETS = (b"a", b"/a", b"../a", b"a/a!", b"/", b".", b"nothing", b"\xff")


@st.composite
def a_layer(draw: st.DrawFn, number: int) -> list[Made]:
    """A layer as its segment has it: nothing is in what is no directory, and a directory is before what is in it."""
    made: dict[bytes, Made] = {}
    for path in draw(st.lists(st.sampled_from(PATHS), max_size=8, unique=True)):
        above = [path[:end] for end, byte in enumerate(path) if byte == ord("/")]
        if any(each in made and made[each].kind != "directory" for each in above):
            continue
        kind = draw(st.sampled_from(KINDS)) if path else "directory"
        if kind != "directory" and any(each.startswith(path + b"/") for each in made):
            continue
        for each in above:
            made.setdefault(each, directory(each, implied=True, opaque=draw(st.integers(0, 4)) == 0))
        made[path] = _entry(draw, path, kind, number * 1000 + len(made))
    return sorted(made.values(), key=lambda each: each.path.split(b"/"))


def _entry(draw: st.DrawFn, path: bytes, kind: str, tag: int) -> Made:
    if kind == "directory":
        implied = draw(st.booleans())
        return directory(path, mtime=0 if implied else tag, implied=implied, opaque=draw(st.booleans()))
    if kind == "symlink":
        return symlink(path, draw(st.sampled_from(TARGETS)), mtime=tag)
    if kind == "link":
        return Made(path, kind, target=draw(st.sampled_from(PATHS)))
    if kind == "file" and draw(st.booleans()):
        # Of names of one file each segment says the same.
        return Made(path, kind, content=b"one of several", mtime=tag // 1000, same=1)
    return Made(path, kind, content=b"%d" % tag if kind == "file" else b"", mtime=tag)


LAYERS = st.integers(1, 5).flatmap(lambda count: st.tuples(*(a_layer(number) for number in range(count))))


def seen_by_model(layers: Sequence[Sequence[Made]]) -> dict[bytes, tuple[str, int, frozenset[bytes]]] | None:
    """Return kind, time and all names of each path; nothing if a link to nothing shows."""
    state = apply_layers(layers)
    if any(node.kind == BROKEN for node in state.values()):
        return None
    names = defaultdict(set)
    for path, node in state.items():
        names[node].add(path)
    return {
        path: (node.kind, 0 if node.made is None else node.made.mtime, frozenset(names[node]))
        for path, node in state.items()
    }


def seen_by_merge(place: Path, layers: Sequence[Sequence[Made]]) -> dict[bytes, tuple[str, int, frozenset[bytes]]]:
    """Return the same of what is composed."""
    place.mkdir()
    segments = [write_layer(place / str(number), layer) for number, layer in enumerate(layers)]
    indexes = [segment.index.read_bytes() for segment in segments]

    @contextmanager
    def opened() -> Iterator[list[Iterator[Entry]]]:
        yield [read_index(io.BytesIO(index))[1] for index in indexes]

    headers = [read_index(io.BytesIO(index))[0] for index in indexes]
    links = Links(headers, opened)
    names = defaultdict(set)
    rows = {}
    with opened() as entries:
        for layer, entry in merge(entries):
            of, followed = links.followed(layer, entry)
            identity = links.identity(of, followed) if followed.kind != "directory" else None
            identity = entry.path if identity is None else identity
            names[identity].add(entry.path)
            rows[entry.path] = followed.kind, followed.mtime, identity
    for identity, paths in names.items():
        assert isinstance(identity, bytes) or links.names(identity) == len(paths)
    return {path: (kind, time, frozenset(names[identity])) for path, (kind, time, identity) in rows.items()}


def test_what_is_behind_an_opaque_directory_stays_hidden_where_its_attributes_are_looked_for() -> None:
    opaque = Entry(b"a", "directory", implied=True, opaque=True)
    lower = Entry(b"a", "directory", implied=True)
    shown = settle([(3, opaque), (2, lower), (1, Entry(b"a", "file"))], 0)
    assert shown == (3, Entry(b"a", "directory", 0o755), 3)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(layers=LAYERS)
def test_layers_merge_as_overlay(layers: tuple[list[Made], ...]) -> None:
    expected = seen_by_model(layers)
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch) / "made"
        if expected is None:
            with pytest.raises(UpstreamBroken, match="hard link"):
                seen_by_merge(place, layers)
        else:
            assert seen_by_merge(place, layers) == expected


@pytest.mark.squashfs
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(layers=LAYERS.filter(lambda layers: seen_by_model(layers) is not None))
def test_the_kernel_reads_what_the_model_has(layers: tuple[list[Made], ...]) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        file = write_sif(Path(scratch) / "made", layers)
        tree = sif.tree(file, sif.KERNEL, Path(scratch))
    seen = trees.without(image_of(tree), *(each.path for each in MISSING))
    expected = seen_by_model(layers) or {}
    kinds = {"link": "symlink"}
    assert {
        path: (kinds.get(entry.kind, entry.kind), entry.mtime, frozenset({path, *entry.others}))
        for path, entry in seen.items()
    } == expected
    for path, node in apply_layers(layers).items():
        assert node.kind != "file" or (node.made and seen[path].size == len(node.made.content))
