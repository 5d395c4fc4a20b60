"""Layers of this node's packs in requests: found by this daemon's names, wherever in a plan they are."""

from __future__ import annotations

import pytest

from wavelet.config import Settings
from wavelet.image.reference import Digest, Platform, Reference
from wavelet.kinds.augment.node import AugmentedImage
from wavelet.kinds.index.node import ImageIndex
from wavelet.kinds.registry_image.node import RegistryImage
from wavelet.plan.node import ContainerConfig, Layer, Node, layers
from wavelet.requests.pack_locations import PackLocations

DIGEST = Digest("sha256:" + "ab" * 32)
FILE = f"{'ab' * 16}.linux_arm64.tar.gz"


def plan(location: str, platform: str = "linux/amd64") -> Node:
    base = RegistryImage(Reference.parse("busybox:1"), Platform.parse(platform))
    return AugmentedImage(base, ContainerConfig(layers=(Layer(DIGEST, 1, DIGEST, location),)))


@pytest.mark.parametrize("host", ["127.0.0.1:9090", "localhost:9090", "node.example:1"])
def test_by_each_name_of_the_daemon(host: str) -> None:
    located = PackLocations(Settings(authority="node.example:1"))
    (layer,) = layers(located(plan(f"http://{host}/packs/trace@1.2/{FILE}")))
    assert (layer.location, layer.architecture) == (f"pack:trace@1.2/{FILE}", "arm64")
    assert located(located(plan(f"http://{host}/packs/trace@1.2/{FILE}"))) == located(
        plan(f"http://{host}/packs/trace@1.2/{FILE}")
    )


def test_whatever_names_the_daemon_answers() -> None:
    located = PackLocations(Settings(reserved_names=False))
    (layer,) = layers(located(plan(f"http://127.0.0.1:9090/packs/trace@1.2/{FILE}")))
    assert layer.location.startswith("pack:")


def test_others_stay_as_they_are() -> None:
    located = PackLocations(Settings())
    for location in (
        "inline:",
        f"https://site.example/packs/trace@1.2/{FILE}",
        "https://x.example/a.linux_arm64.tar.gz",
    ):
        assert located(plan(location)) == plan(location)


def test_in_all_parts_of_a_plan() -> None:
    url = f"http://127.0.0.1:9090/packs/trace@1.2/{FILE}"
    both = ImageIndex(tuple((Platform.parse(each), plan(url, each)) for each in ("linux/amd64", "linux/arm64")))
    assert {layer.location for layer in layers(PackLocations(Settings())(both))} == {f"pack:trace@1.2/{FILE}"}
