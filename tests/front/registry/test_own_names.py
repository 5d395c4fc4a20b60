"""References in requests that name this daemon: read as the image that is meant."""

from __future__ import annotations

import pytest

from wavelet.errors import InvalidName, InvalidRequest
from wavelet.front.registry.names import CondaName, parse_name
from wavelet.front.registry.own_names import OwnHosts, OwnReferences
from wavelet.front.registry.plans import plan_of
from wavelet.image.reference import Digest, Platform, Reference, Repository
from wavelet.kinds.augment.node import AugmentedImage
from wavelet.kinds.conda.model.package_request import CondaDefaults
from wavelet.kinds.frozen.node import FrozenImage
from wavelet.kinds.mirrored.node import MirroredImage
from wavelet.kinds.registry_image.node import RegistryImage
from wavelet.plan.node import ContainerConfig, Node

AMD64, ARM64 = Platform.parse("amd64"), Platform.parse("arm64")
SITE = CondaDefaults.of("ubuntu:24.04", (), ("conda-forge",), platform=AMD64)
HOST = "127.0.0.1:9090"
READ = OwnReferences({HOST, "localhost:9090"}, lambda: SITE)
DIGEST = Digest.of(b"x")


def image(text: str, platform: Platform | None = AMD64) -> RegistryImage:
    return RegistryImage(Reference.parse(text), platform)


SAMTOOLS = plan_of(CondaName("samtools"), "1.17", SITE)


@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        (image(f"{HOST}/quay.io/biocontainers/samtools:1"), image("quay.io/biocontainers/samtools:1")),
        (image("localhost:9090/library/busybox:1", None), image("docker.io/library/busybox:1", None)),
        (image(f"{HOST}/localhost_5000/a/b@{DIGEST}"), image(f"localhost:5000/a/b@{DIGEST}")),
        (image(f"{HOST}/conda/samtools:1.17"), SAMTOOLS),
        (image(f"{HOST}/conda/samtools:1.17", None), SAMTOOLS),
        (image(f"{HOST}/local/tool:1"), image(f"{HOST}/local/tool:1")),
        (image(f"{HOST}/wt/{'0' * 32}/x:1"), image(f"{HOST}/wt/{'0' * 32}/x:1")),
        (image(f"{HOST}/127.0.0.1_9090/localhost_9090/quay.io/a/b:1"), image("quay.io/a/b:1")),
        (image("LOCALHOST:09090/quay.io/a/b:1"), image("quay.io/a/b:1")),
        (image("127.1:9090/quay.io/a/b:1"), image("quay.io/a/b:1")),
        (image("[::ffff:127.0.0.1]:9090/quay.io/a/b:1"), image("quay.io/a/b:1")),
        (image("127.0.0.1:9091/quay.io/a/b:1"), image("127.0.0.1:9091/quay.io/a/b:1")),
    ],
    ids=lambda plan: str(plan.label.text),
)
def test_what_is_meant(asked: RegistryImage, meant: Node) -> None:
    assert READ(asked) == meant
    config = ContainerConfig(env=("A=1",))
    assert READ(FrozenImage(AugmentedImage(asked, config, (asked,)))) == FrozenImage(
        AugmentedImage(meant, config, (meant,))
    )


def test_what_is_copied_as_it_is_stays_a_registrys() -> None:
    target = Repository("quay.io", "x")
    packages = MirroredImage(image(f"{HOST}/conda/samtools:1.17", None), target)
    assert READ(packages) == packages
    copied = MirroredImage(image(f"{HOST}/quay.io/a/b:1", None), target)
    assert READ(copied) == MirroredImage(image("quay.io/a/b:1", None), target)


def test_what_is_no_name_is_refused() -> None:
    with pytest.raises(InvalidName, match="no--such"):
        READ(image(f"{HOST}/conda/samtools/no--such:1.17"))
    with pytest.raises(InvalidRequest, match="for linux/amd64 alone, and linux/arm64 is asked for"):
        READ(image(f"{HOST}/conda/samtools:1.17", ARM64))


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("127.0.0.1_9090/quay.io/a/b", "quay.io/a/b"),
        ("LOCALHOST:9090/localhost_9090/a/b", "a/b"),
        (f"127.0.0.1_9090/wt/{'0' * 32}/x", f"wt/{'0' * 32}/x"),
        ("sif/127.0.0.1_9090/quay.io/a/b", "sif/quay.io/a/b"),
        ("quay.io/a/b", "quay.io/a/b"),
        ("127.0.0.1_9091/a/b", "127.0.0.1_9091/a/b"),
    ],
)
def test_a_name_that_leads_here_is_what_it_leads_to(name: str, meant: str) -> None:
    own = OwnHosts({HOST})
    assert own.meant(parse_name(name, None, reserved=True), reserved=True) == parse_name(meant, None, reserved=True)


def test_a_name_says_sif_once_also_behind_this_daemons_own() -> None:
    with pytest.raises(InvalidName, match="twice"):
        OwnHosts({HOST}).meant(parse_name(f"sif/{HOST}/sif/a/b", None, reserved=True), reserved=True)


@pytest.mark.parametrize("name", [f"{HOST}/quay.io/a/b:1", f"localhost:9090/{HOST}/quay.io/a/b:1", "quay.io/a/b:1"])
def test_a_name_without_this_daemons_authority(name: str) -> None:
    assert OwnHosts({HOST}).without(name) == "quay.io/a/b:1"
