"""The segment of a layer as a node: what its key says, and that it is read back as it was."""

from __future__ import annotations

from dataclasses import replace

import pytest

from wavelet.archive.squashfs.codecs import GZIP, ZSTD
from wavelet.errors import InvalidRequest
from wavelet.image.image import Content, Descriptor, FromLocation, FromUpstream, MadeBy, Source
from wavelet.image.reference import Digest, Repository
from wavelet.kinds.sif.segments.node import LayerSegment
from wavelet.kinds.table import FORMS
from wavelet.plan.canonical import decode, encode, key
from wavelet.plan.node import repositories

LAYER = Descriptor("application/vnd.oci.image.layer.v1.tar+gzip", Digest.of(b"layer"), 5)
QUAY = Repository("quay.io", "lab/base")
SOURCES: list[Source] = [
    FromUpstream(QUAY),
    FromUpstream(Repository("docker.io", "library/busybox")),
    FromLocation("https://example.org/layer.tar.gz", Digest.of(b"tar")),
    FromLocation("inline:", Digest.of(b"tar")),
    MadeBy("ab" * 32),
]
SEGMENT = LayerSegment(Content(LAYER, SOURCES[0]), GZIP)


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.origin)
@pytest.mark.parametrize("urls", [(), ("https://example.org/foreign",)])
def test_it_is_read_back_as_it_was(source: Source, urls: tuple[str, ...]) -> None:
    node = LayerSegment(Content(replace(LAYER, urls=urls), source), ZSTD)
    assert decode(encode(node), FORMS) == node


def test_a_codec_that_does_not_exist_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="lzo"):
        decode(encode(SEGMENT).replace(b'"gzip"', b'"lzo"'), FORMS)


def test_its_key_is_for_ever() -> None:
    """Another key has every segment made again."""
    assert key(SEGMENT) == "57b6d9e9b456e832c32562815bc7b67383c046d71babfe0a0a8828b41f399069"


def test_its_key_says_all_that_its_bytes_and_its_readers_depend_on() -> None:
    others = [
        replace(SEGMENT, codec=ZSTD),
        replace(SEGMENT, codec=replace(GZIP, level=2)),
        replace(SEGMENT, codec=replace(GZIP, implementation="libdeflate-2")),
        LayerSegment(Content(replace(LAYER, digest=Digest.of(b"another")), SOURCES[0]), GZIP),
        *(LayerSegment(Content(LAYER, source), GZIP) for source in SOURCES[1:]),
    ]
    # Inline layers are where their record is, and are of the same origin.
    assert len({key(each) for each in (SEGMENT, *others)}) == len(others) + 1
    of_another_type = replace(LAYER, media_type="application/vnd.docker.image.rootfs.diff.tar.gzip", size=6)
    assert key(LayerSegment(Content(of_another_type, SOURCES[0]), GZIP)) == key(SEGMENT)


def test_its_layer_s_repository_has_to_answer_for_it() -> None:
    assert list(repositories(SEGMENT)) == [QUAY]
    assert list(repositories(LayerSegment(Content(LAYER, SOURCES[2]), GZIP))) == []
