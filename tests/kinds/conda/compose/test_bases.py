"""What packages stand on: any node that yields an image for their platform."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from memory_work import AMD64, Everything

from lab import images
from lab.conda_packages import Package, text, write
from wavelet.errors import ImageNotFound
from wavelet.image.image import Image
from wavelet.kinds.augment import make as augment
from wavelet.kinds.augment.node import AugmentedImage
from wavelet.kinds.conda.model.node import LockedEnvironment
from wavelet.kinds.index import make as index
from wavelet.kinds.index.node import ImageIndex
from wavelet.plan.node import ContainerConfig

SETTING = ContainerConfig(env=("A=1",))


@pytest.fixture
def everything(tmp_path: Path) -> Everything:
    return Everything(tmp_path / "content", {AugmentedImage: augment.make, ImageIndex: index.make})


@pytest.fixture
def lock(everything: Everything, tmp_path: Path) -> LockedEnvironment:
    package = everything.package(write(tmp_path / "channel", Package("one", files={"bin/one": text("1\n")})))
    return LockedEnvironment((package,), (), AMD64, everything.base(images.busybox(family=images.OCI)))


def document(everything: Everything, image: Image) -> dict[str, Any]:
    """Return an image's own document."""
    read: dict[str, Any] = json.loads(everything.file(image.closure[image.descriptor.digest]).read_bytes())
    return read


def config(everything: Everything, image: Image) -> dict[str, Any]:
    """Return an image's configuration."""
    digest = document(everything, image)["config"]["digest"]
    read: dict[str, Any] = json.loads((everything.directory / digest.partition(":")[2]).read_bytes())
    return read


async def test_packages_stand_on_an_augmented_image(everything: Everything, lock: LockedEnvironment) -> None:
    plain = await everything.realise(lock)
    on = await everything.realise(replace(lock, base=AugmentedImage(lock.base, SETTING)))
    assert document(everything, on)["layers"] == document(everything, plain)["layers"]
    assert "A=1" in config(everything, on)["config"]["Env"]
    assert "A=1" not in config(everything, plain)["config"]["Env"]


async def test_an_index_of_augmented_packages_is_augmented_once_more(
    everything: Everything, lock: LockedEnvironment
) -> None:
    member = AugmentedImage(replace(lock, base=AugmentedImage(lock.base, SETTING)), ContainerConfig(env=("B=2",)))
    image = await everything.realise(AugmentedImage(ImageIndex(((AMD64, member),)), ContainerConfig(env=("C=3",))))
    (entry,) = document(everything, image)["manifests"]
    assert entry["platform"] == {"os": "linux", "architecture": "amd64"}
    made = await everything.realise(AugmentedImage(member, ContainerConfig(env=("C=3",))))
    assert str(made.descriptor.digest) == entry["digest"]
    assert {"A=1", "B=2", "C=3"} <= set(config(everything, made)["config"]["Env"])


async def test_packages_do_not_stand_on_an_index(everything: Everything, lock: LockedEnvironment) -> None:
    with pytest.raises(ImageNotFound, match="is not an image for linux/amd64"):
        await everything.realise(replace(lock, base=ImageIndex(((AMD64, lock.base),))))
