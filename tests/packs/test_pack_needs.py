"""What an engine has to give a container for the packs in its plan."""

from __future__ import annotations

from dataclasses import replace

from wavelet.image.reference import Digest, Platform, Reference
from wavelet.kinds.augment.node import AugmentedImage
from wavelet.kinds.registry_image.node import RegistryImage
from wavelet.packs.locations import location_of
from wavelet.packs.model import Needs, Pack, PackPending, PackRefused
from wavelet.packs.needs import needs_of, packs_in
from wavelet.plan.node import ContainerConfig, Layer

FUSE = Pack("fuse", "1", needs=Needs(("/dev/fuse",), ("SYS_ADMIN",)))
GPU = Pack("gpu", "2", needs=Needs(("/dev/nvidia0", "/dev/fuse"), ()))
BUSYBOX = RegistryImage(Reference.parse("docker.io/library/busybox:1"), Platform("linux", "amd64"))


class Known:
    """Packs of a node that has two, of one version each, and builds another one."""

    def get(self, name: str, version: str | None = None) -> Pack:
        if name == "late":
            raise PackPending(name)
        for pack in (FUSE, GPU):
            if (pack.name, pack.version) == (name, version):
                return pack
        raise PackRefused(f"there is no pack {name}")


def layer(reference: str, content: bytes) -> Layer:
    digest = Digest.of(content)
    return Layer(digest, 1, digest, location_of(reference, digest, None))


def test_the_needs_of_packs_are_united() -> None:
    assert needs_of([FUSE, GPU, FUSE]) == Needs(("/dev/fuse", "/dev/nvidia0"), ("SYS_ADMIN",))
    assert needs_of([]) == Needs()


def test_packs_are_known_by_their_layers() -> None:
    unknown = (layer("gone@1", b"c"), layer("late@1", b"g"), layer("fuse@2", b"d"))
    layers = (layer("gpu@2", b"a"), layer("gpu@2", b"b"), *unknown)
    other = replace(layer("gpu@2", b"e"), location="https://files.example/x.tar.gz")
    plan = AugmentedImage(BUSYBOX, ContainerConfig(layers=(*layers, other)))
    assert packs_in(plan, Known()) == [GPU]
    assert packs_in(AugmentedImage(plan, ContainerConfig(layers=(layer("fuse@1", b"f"),))), Known()) == [FUSE, GPU]
    assert packs_in(BUSYBOX, Known()) == []
