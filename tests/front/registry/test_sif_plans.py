"""The plans of SIFs: for which platform they are, and how a tag says that."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavelet.config import Settings, Sif
from wavelet.errors import ImageNotFound
from wavelet.front.registry.sif_plans import SifPlans, read_tag
from wavelet.image.reference import Platform, Reference
from wavelet.kinds.frozen.node import FrozenImage
from wavelet.kinds.index.node import ImageIndex
from wavelet.kinds.registry_image.node import RegistryImage
from wavelet.kinds.sif.node import SifImage
from wavelet.requests.site_codec import SiteCodec

AMD64, ARM64, ARM = (Platform.parse(name) for name in ("amd64", "arm64", "linux/arm/v6"))
IMAGE = RegistryImage(Reference.parse("quay.io/a/b:1"))
CODEC = SiteCodec(Settings())
PLANS = SifPlans(CODEC, AMD64)


@pytest.mark.parametrize(
    ("tag", "own", "platform"),
    [
        ("1", "1", None),
        ("1.17--h50ea8bc_1", "1.17--h50ea8bc_1", None),
        ("1--linux-arm64", "1", ARM64),
        ("1.17--h50ea8bc_1--linux-amd64", "1.17--h50ea8bc_1", AMD64),
        ("1--linux-arm-v6", "1", ARM),
        ("1--linux-arm64-v8", "1", ARM64),
        ("1-linux-arm64", "1-linux-arm64", None),
        ("--linux-arm64", "--linux-arm64", None),
        ("", "", None),
    ],
)
def test_a_platform_behind_a_tag(tag: str, own: str, platform: Platform | None) -> None:
    assert read_tag(tag) == (own, platform)


@given(st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,20}", fullmatch=True), st.sampled_from([AMD64, ARM64, ARM]))
def test_every_tag_takes_a_platform(tag: str, platform: Platform) -> None:
    assert read_tag(f"{tag}--{str(platform).replace('/', '-')}") == (tag, platform)


def test_a_platform_for_which_no_images_are_made_is_said() -> None:
    with pytest.raises(ImageNotFound, match="'linux/riscv64'; it can be linux/amd64"):
        read_tag("1--linux-riscv64")


def test_an_image_that_says_no_platform_is_taken_for_this_nodes_own() -> None:
    assert PLANS.of(IMAGE, None) == SifImage(IMAGE.for_platform(AMD64), AMD64, "gzip")
    assert SifPlans(CODEC, ARM64).of(IMAGE, None) == SifImage(IMAGE.for_platform(ARM64), ARM64, "gzip")
    assert PLANS.of(IMAGE, ARM64) == SifImage(IMAGE.for_platform(ARM64), ARM64, "gzip")


def test_an_image_for_one_platform_is_taken_for_that_one() -> None:
    image = IMAGE.for_platform(ARM64)
    assert PLANS.of(image, None) == SifImage(image, ARM64, "gzip")
    with pytest.raises(ImageNotFound, match="is for linux/arm64, not for linux/amd64"):
        PLANS.of(image, AMD64)


def test_of_several_platforms_one_is_chosen() -> None:
    members = tuple((platform, IMAGE.for_platform(platform)) for platform in (ARM, ARM64))
    assert PLANS.of(ImageIndex(members), None) == SifImage(IMAGE.for_platform(ARM), ARM, "gzip")
    assert SifPlans(CODEC, ARM64).of(ImageIndex(members), None) == SifImage(members[1][1], ARM64, "gzip")
    assert PLANS.of(ImageIndex(members), ARM64) == SifImage(members[1][1], ARM64, "gzip")


def test_what_is_a_sif_already_is_not_wrapped_again() -> None:
    for plan in (SifImage(IMAGE, AMD64), FrozenImage(SifImage(IMAGE, AMD64))):
        assert PLANS.of(plan, None) is plan


def test_the_codec_is_the_sites_of_now() -> None:
    codec = SiteCodec(Settings())
    plans = SifPlans(codec, AMD64)
    codec.configure(Settings(sif=Sif(codec="zstd")))()
    assert plans.of(IMAGE, None) == SifImage(IMAGE.for_platform(AMD64), AMD64, "zstd")
