"""SIFs as nodes: which of them are the same file."""

from __future__ import annotations

from dataclasses import replace

from wavelet.image.reference import Digest, Platform, Reference, Repository
from wavelet.kinds.frozen.node import FrozenImage
from wavelet.kinds.mirrored.node import MirroredImage
from wavelet.kinds.registry_image.node import RegistryImage
from wavelet.kinds.sif.node import SifImage
from wavelet.plan.canonical import key
from wavelet.plan.node import file_of
from wavelet.plan.tokens import target_name

AMD64, ARM64 = Platform("linux", "amd64"), Platform("linux", "arm64")
IMAGE = RegistryImage(Reference.parse("quay.io/lab/busybox").at(Digest.of(b"1")), AMD64)
SIF = SifImage(IMAGE, AMD64)
ELSEWHERE = Repository("reg.test", "team/x")
TOKEN = "0" * 32


def test_where_else_it_goes_makes_no_other_file() -> None:
    mirrored = SifImage(MirroredImage(replace(IMAGE, platform=None), ELSEWHERE), AMD64)
    near_cache = SifImage(replace(IMAGE, platform=None), AMD64)
    assert key(mirrored) == key(near_cache) == key(SIF)


def test_what_is_inside_makes_another_file() -> None:
    others = [
        replace(SIF, platform=ARM64),
        replace(SIF, codec="zstd"),
        SifImage(RegistryImage(IMAGE.reference.at(Digest.of(b"2")), AMD64), AMD64),
    ]
    assert len({key(other) for other in [*others, SIF]}) == 4


def test_a_frozen_one_is_the_same_file() -> None:
    frozen = FrozenImage(SIF, ELSEWHERE)
    assert frozen.is_file
    assert file_of(frozen) == SIF
    assert file_of(IMAGE) is None
    assert frozen.compressed_by("zstd") == FrozenImage(replace(SIF, codec="zstd"), ELSEWHERE)
    assert IMAGE.compressed_by("zstd") is IMAGE


def test_names_say_that_it_is_a_file() -> None:
    assert target_name("127.0.0.1:9090", TOKEN, SIF).startswith(f"oras://127.0.0.1:9090/wt/{TOKEN}/lab/busybox:sha256-")
    assert target_name("127.0.0.1:9090", TOKEN, FrozenImage(SIF, ELSEWHERE)).startswith("oras://reg.test/team/x:")
    mirrored = SifImage(MirroredImage(IMAGE, ELSEWHERE), AMD64)
    assert target_name("127.0.0.1:9090", TOKEN, mirrored).startswith(f"oras://127.0.0.1:9090/wt/{TOKEN}/")
