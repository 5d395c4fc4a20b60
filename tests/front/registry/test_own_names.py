"""References in requests that name this daemon: read as the image that is meant."""

from __future__ import annotations

import pytest

from wavelet.errors import InvalidName, InvalidRequest
from wavelet.front.registry.names import CondaName
from wavelet.front.registry.own_names import OwnReferences
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
