"""What mirrored images are called at their target."""

from __future__ import annotations

import pytest

from wavelet.errors import InvalidName, InvalidRequest
from wavelet.front.grpc.mirror_targets import check, targets_of
from wavelet.image.reference import Reference
from wavelet.kinds.augment.node import AugmentedImage
from wavelet.kinds.registry_image.node import RegistryImage
from wavelet.plan.node import ContainerConfig, Node

DIGEST = f"sha256:{'0' * 64}"
IMAGE = RegistryImage(Reference.parse("quay.io/org/tool:1"))
MADE = AugmentedImage(IMAGE, ContainerConfig(env=("A=1",)))


@pytest.mark.parametrize(
    ("plan", "name", "target", "expected"),
    [
        (IMAGE, "quay.io/org/tool:1", "reg.example", "reg.example/org/tool:1"),
        (IMAGE, "quay.io/org/tool:1", "reg.example:5000/a/b/", "reg.example:5000/a/b/org/tool:1"),
        (IMAGE, f"quay.io/org/tool:1@{DIGEST}", "team", f"docker.io/team/org/tool:1@{DIGEST}"),
        (IMAGE, "docker.io/library/busybox:1", "reg.example", "reg.example/library/busybox:1"),
        (IMAGE, "quay.io/org/tool:1", "quay.io/copies", "quay.io/copies/org/tool:1"),
        (MADE, f"wt/{'0' * 32}/org/tool:1", "reg.example", "reg.example/org/tool:1"),
        (MADE, "frozen/samtools:1.17--00", "reg.example", "reg.example/samtools:1.17--00"),
        (MADE, "conda/samtools:1.17", "reg.example", "reg.example/conda/samtools:1.17"),
    ],
)
def test_path_and_tag_stay_below_the_target(plan: Node, name: str, target: str, expected: str) -> None:
    targets, errors = targets_of(target, {3: (plan, name)})
    assert not errors
    assert str(targets[3]) == str(Reference.parse(expected))


def test_what_cannot_be_there() -> None:
    same = {0: (IMAGE, "quay.io/org/tool:1"), 1: (MADE, "conda/x:1")}
    targets, errors = targets_of("quay.io", same)
    assert isinstance(errors[0], InvalidRequest) and "is where the image is" in errors[0].message
    assert list(targets) == [1]
    _, errors = targets_of("quay.io/UPPER", same)
    assert all(isinstance(each, InvalidName) and each.field == "target" for each in errors.values())


@pytest.mark.parametrize("target", ["127.0.0.1:9090", "localhost:9090/local", "[::1]:9090/local/team"])
def test_nothing_is_mirrored_to_the_daemon_itself(target: str) -> None:
    with pytest.raises(InvalidRequest, match="wavelet's own registry") as caught:
        check(target, "127.0.0.1:9090")
    assert caught.value.field == "target"
    check("127.0.0.1:5000/local", "127.0.0.1:9090")


def test_two_images_cannot_have_one_name() -> None:
    named = {0: (IMAGE, "quay.io/org/tool:1"), 4: (MADE, f"wt/{'0' * 32}/org/tool:1"), 5: (IMAGE, "quay.io/org/tool:1")}
    targets, errors = targets_of("reg.example", named)
    assert list(targets) == [0, 5]
    assert "images[0], quay.io/org/tool:1, becomes reg.example/org/tool:1 too" in errors[4].message
