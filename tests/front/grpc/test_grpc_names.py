"""Names of this daemon's own, and the platforms that are asked for with them."""

from __future__ import annotations

from typing import cast

import pytest

from lab.packs import NO_RULES
from wavelet.config import Settings
from wavelet.errors import InvalidName, InvalidRequest
from wavelet.front.grpc.names import Names, _chosen
from wavelet.front.registry.own_names import OwnHosts
from wavelet.front.registry.sif_plans import SifPlans
from wavelet.image.reference import DEFAULT_PLATFORM, Platform, Reference
from wavelet.kinds.conda.model.node import CondaEnvironment
from wavelet.kinds.conda.model.package_request import CondaDefaults
from wavelet.kinds.index.node import ImageIndex
from wavelet.kinds.registry_image.node import RegistryImage
from wavelet.kinds.sif.node import SifImage
from wavelet.plan.tokens import NOBODY
from wavelet.requests.container_requests import ContainerRequests
from wavelet.requests.site_codec import SiteCodec

AMD64, ARM64, ARM = (Platform.parse(name) for name in ("amd64", "arm64", "arm"))
SITE = CondaDefaults.of("ubuntu:24.04", (), ("conda-forge",), platform=AMD64)
NAMES = Names(
    cast(ContainerRequests, None),
    lambda: SITE,
    SifPlans(SiteCodec(Settings()), AMD64),
    NO_RULES,
    "127.0.0.1:9090",
    OwnHosts({"127.0.0.1:9090"}),
    reserved=True,
)


@pytest.mark.parametrize(
    ("name", "asked", "other"),
    [
        ("conda/samtools:1.17", ARM64, "conda/samtools/platform--arm64:1.17"),
        ("conda/samtools", ARM64, "conda/samtools/platform--arm64:latest"),
        ("conda/samtools/platform--arm64/add--none:1.17", AMD64, "conda/samtools/add--none/platform--amd64:1.17"),
    ],
)
async def test_a_name_of_packages_for_another_platform_is_refused_and_the_right_one_said(
    name: str, asked: Platform, other: str
) -> None:
    """The platform was ignored, and the image of another one taken in."""
    with pytest.raises(InvalidRequest, match=f"for {asked} the name is {other}$") as refused:
        await NAMES.plan(name, "images[0]", (asked,), NOBODY)
    assert refused.value.field == "platform"
    plan, pulled = await NAMES.plan(other, "images[0]", (asked,), NOBODY, (DEFAULT_PLATFORM,))
    assert isinstance(plan, CondaEnvironment)
    assert (plan.platform, pulled) == (asked, other)


async def test_a_platform_that_nobody_asks_for_refuses_no_name() -> None:
    plan, _ = await NAMES.plan("conda/samtools/platform--arm64:1.17", "images[0]", (), NOBODY, (DEFAULT_PLATFORM,))
    assert plan.description.platforms == (ARM64,)


def test_a_request_is_for_the_platforms_that_it_is_for() -> None:
    image = RegistryImage(Reference.parse("quay.io/a/b:1"), ARM64)
    assert _chosen(image, (), (DEFAULT_PLATFORM,)) == image
    with pytest.raises(InvalidRequest, match="is for linux/arm64, not for linux/amd64"):
        _chosen(image, (AMD64,), ())
    index = ImageIndex(((AMD64, image.for_platform(AMD64)), (ARM64, image)))
    assert _chosen(index, (ARM64,), (DEFAULT_PLATFORM,)) == image
    assert _chosen(index, (AMD64, ARM64), ()) == index
    with pytest.raises(InvalidRequest, match="not for linux/arm/v7"):
        _chosen(index, (ARM,), ())


@pytest.mark.parametrize(
    ("text", "asked", "platform", "name"),
    [
        ("sif/quay.io/a/b:1", (), AMD64, "sif/quay.io/a/b:1"),
        ("127.0.0.1:9090/sif/quay.io/a/b:1", (ARM64,), ARM64, "sif/quay.io/a/b:1"),
        ("sif/quay.io/a/b:1--linux-arm64", (), ARM64, "sif/quay.io/a/b:1--linux-arm64"),
        (f"sif/quay.io/a/b:1@sha256:{'0' * 64}", (ARM64,), ARM64, f"sif/quay.io/a/b:1@sha256:{'0' * 64}"),
        ("sif/busybox", (), AMD64, "sif/docker.io/library/busybox:latest"),
        ("sif/local/tool:1", (), AMD64, "sif/local/tool:1"),
        ("sif/conda/samtools/platform--arm64:1.17", (), ARM64, "sif/conda/samtools/platform--arm64:1.17"),
    ],
)
async def test_the_name_of_a_sif(text: str, asked: tuple[Platform, ...], platform: Platform, name: str) -> None:
    plan, pulled = await NAMES.plan(text, "images[0]", asked, NOBODY, (DEFAULT_PLATFORM,))
    assert isinstance(plan, SifImage)
    assert (plan.platform, plan.image.description.platforms, pulled) == (platform, (platform,), name)


async def test_a_sif_is_for_one_platform() -> None:
    with pytest.raises(InvalidRequest, match="a SIF is for one platform"):
        await NAMES.plan("sif/quay.io/a/b:1", "image", (AMD64, ARM64), NOBODY)
    with pytest.raises(InvalidRequest, match=r"the name is conda/samtools/platform--arm64:1\.17"):
        await NAMES.plan("sif/conda/samtools:1.17", "image", (ARM64,), NOBODY)


async def test_who_asks_for_an_image_names_the_image() -> None:
    with pytest.raises(InvalidName, match=r"name: sif/quay.io/a/b:1 is an image in another form; name the image"):
        NAMES.read("sif/quay.io/a/b:1", "name")
