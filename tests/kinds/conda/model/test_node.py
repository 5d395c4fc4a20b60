"""The plans of packages: their values, what is part of keys, and that what is written is read again."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lab.makers import made_by
from wavelet.errors import InvalidRequest, NotServed
from wavelet.image.reference import Digest, Platform, Reference
from wavelet.kinds.augment.node import AugmentedImage
from wavelet.kinds.conda.model.node import (
    CondaEnvironment,
    LibcOf,
    LockedEnvironment,
    PackageLayer,
    ScriptsLayer,
    WheelLayer,
)
from wavelet.kinds.conda.model.packages import Package, Wheel, subdir_of
from wavelet.kinds.index.node import ImageIndex
from wavelet.kinds.registry_image.node import RegistryImage
from wavelet.kinds.table import FORMS
from wavelet.plan.canonical import canonical, decode, encode, key
from wavelet.plan.node import (
    INLINE,
    ContainerConfig,
    Layer,
    Node,
    leaves,
    map_parts,
    parts,
    repositories,
    without_unkept,
)

AMD64 = Platform.parse("linux/amd64")
BASE = RegistryImage(Reference.parse("ubuntu:24.04"), AMD64)
URL = "https://conda.anaconda.org/conda-forge/linux-64/lib-a-b-1.2-h0_0.conda"
PACKAGE = Package(URL, "a" * 64, "b" * 32, 12)
WHEEL = Wheel("https://files.example/x/six-1.16-py3-none-any.whl", "c" * 64, 5)
ASKED = CondaEnvironment(("python=3.11", "samtools=1.17"), ("conda-forge", "bioconda"), AMD64, BASE, pip=("six",))
LOCK = LockedEnvironment((PACKAGE,), (WHEEL,), AMD64, BASE)
SCRIPTS_KEY = "c5f7123b43571f1c0573ccbf50751a3b5e18cd71d0351975320412eda050ab7e"
"""The key of what the scripts of `LOCK`'s package change, as the first version wrote it."""
PLANS: list[Node] = [
    ASKED,
    replace(ASKED, as_of="2026-01-31T00:00:00Z", renewed=True, locked=(PACKAGE,), wheels=(WHEEL,), lock_location="u"),
    LOCK,
    LOCK.without_scripts(),
    replace(ASKED, layers="few"),
    replace(LOCK, layers="few"),
    AugmentedImage(ASKED, ContainerConfig(env=("A=1",))),
    ImageIndex(((AMD64, ASKED), (Platform.parse("arm64"), replace(ASKED, platform=Platform.parse("arm64"))))),
    PackageLayer(PACKAGE, "3.11", "lib/python3.11/site-packages"),
    PackageLayer(PACKAGE),
    WheelLayer(WHEEL, "3.11", "lib/python3.11/site-packages"),
    ScriptsLayer((PACKAGE,), LOCK.without_scripts()),
    LibcOf(BASE),
]


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: type(plan).__name__)
def test_what_is_written_is_read_again(plan: Node) -> None:
    assert decode(encode(plan), FORMS) == plan
    assert encode(decode(encode(plan), FORMS)) == encode(plan)


def test_an_image_is_as_its_makers_version_makes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    scripts = ScriptsLayer((PACKAGE,), LOCK.without_scripts())
    first: list[tuple[str, bytes]] = []
    for version in (1, 2, 3):
        made_by(monkeypatch, LockedEnvironment, "image_maker", version)
        assert decode(encode(LOCK), FORMS) == LOCK
        assert b"maker" not in canonical(LOCK) + encode(LOCK), "names and records are no version's"
        first.append((key(LOCK), encode(LOCK)))
        assert key(scripts) == SCRIPTS_KEY, "what scripts have changed stays claimed"
    assert len({made for made, _ in first}) == 3
    assert {decode(data, FORMS) for _, data in first} == {LOCK}, "what older and newer versions have kept can be read"


def test_layers_whose_bytes_are_in_the_request_only_are_left_out_until_they_are_kept() -> None:
    layer = Layer(Digest.of(b"gzip"), 4, Digest.of(b"tar"), INLINE)
    config = ContainerConfig(env=("A=1",), layers=(layer,))
    assert without_unkept(AugmentedImage(ASKED, ContainerConfig(layers=(layer,)))) == ASKED
    assert without_unkept(AugmentedImage(ASKED, config)) == AugmentedImage(ASKED, ContainerConfig(env=("A=1",)))
    kept = AugmentedImage(ASKED, replace(config, layers=(replace(layer, location=f"{INLINE}ab"),)))
    members = ((AMD64, kept),)
    assert without_unkept(ImageIndex(members)) == ImageIndex(members)


def test_every_plan_has_a_key_of_its_own() -> None:
    assert len({key(plan) for plan in PLANS}) == len(PLANS)
    assert len({canonical(plan) for plan in PLANS}) == len(PLANS)


def test_how_many_layers_an_image_has_is_part_of_its_name_and_key_and_images_of_many_keep_theirs() -> None:
    for plan in (ASKED, LOCK):
        assert canonical(replace(plan, layers="few")) != canonical(plan)
        assert key(replace(plan, layers="few")) != key(plan)
        assert b"many" not in encode(plan)
    with pytest.raises(InvalidRequest, match="not a plan"):
        decode(encode(replace(LOCK, layers="few")).replace(b'"few"', b'"some"'), FORMS)


def test_what_a_lock_says_besides_makes_no_other_lock_of_it() -> None:
    bare = replace(PACKAGE, md5=None, size=None)
    assert key(replace(LOCK, packages=(bare,))) == key(LOCK)
    assert key(PackageLayer(bare)) == key(PackageLayer(PACKAGE))
    other = replace(PACKAGE, sha256=None)
    assert key(PackageLayer(other)) != key(PackageLayer(replace(other, md5="d" * 32)))


def test_a_package_is_what_its_url_says() -> None:
    assert (PACKAGE.name, PACKAGE.version, PACKAGE.build) == ("lib-a-b", "1.2", "h0_0")
    assert (PACKAGE.subdir, PACKAGE.channel) == ("linux-64", "https://conda.anaconda.org/conda-forge")
    assert Package("https://c/linux-64/x-1-0.tar.bz2").stem == "x-1-0"
    assert (WHEEL.name, WHEEL.version) == ("six", "1.16")


@pytest.mark.parametrize(
    ("url", "sha256"),
    [
        ("https://c/linux-64/x-1-0.zip", None),
        ("https://c/linux-64/x-1.conda", None),
        ("ftp://c/linux-64/x-1-0.conda", None),
        ("x-1-0.conda", None),
        ("https://user:secret@c/linux-64/x-1-0.conda", None),
        ("https://c/linux-64/x-1-0\n.conda", None),
        ("https://c/linux-64/x-1-0.conda", "abc"),
    ],
)
def test_what_is_no_package_is_refused_without_its_secrets(url: str, sha256: str | None) -> None:
    with pytest.raises(InvalidRequest) as caught:
        Package.of(url, sha256, None, None, "packages.environment")
    assert caught.value.field == "packages.environment"
    assert "secret" not in caught.value.message


def test_platforms_without_packages_are_named() -> None:
    assert subdir_of(Platform.parse("arm64")) == "linux-aarch64"
    with pytest.raises(NotServed, match="linux/arm/v7"):
        subdir_of(Platform.parse("linux/arm"))


def test_the_parts_of_plans() -> None:
    augmented = AugmentedImage(ASKED, ContainerConfig(env=("A=1",)), (BASE,))
    assert list(parts(augmented)) == [ASKED, BASE]
    assert list(leaves(augmented)) == [BASE, BASE]
    assert map_parts(augmented, lambda part: LOCK if part == ASKED else part) == replace(augmented, base=LOCK)
    assert list(leaves(ScriptsLayer((PACKAGE,), LOCK))) == [BASE]
    assert list(repositories(PackageLayer(PACKAGE))) == []


@pytest.mark.parametrize(
    ("specs", "name"),
    [
        (("samtools=1.17",), "conda/samtools:1.17"),
        (("conda-forge::procps-ng", "samtools=1.17"), "conda/samtools:1.17"),
        (("bioconda::samtools==1.17=h0_0",), "conda/samtools:1.17"),
        (("samtools>=1.17",), "conda/samtools:latest"),
        (("bwa", "samtools=1.17"), "conda/bwa_samtools:latest"),
        (("_libgcc_mutex=0.1",), "conda/libgcc-mutex:0.1"),
        (("a", "b", "c", "d", "e"), "conda/a_b_c_d:latest"),
        (("x=1!2.0+local",), "conda/x:1_2.0_local"),
        ((), "conda/environment:latest"),
    ],
)
def test_names_tell_of_the_packages(specs: tuple[str, ...], name: str) -> None:
    plan = replace(ASKED, specs=specs, pip=(), locked=(), wheels=(), lock_location="")
    assert plan.label.text == name
