"""The names of frozen and mirrored images: what people read in them, and what they end in."""

from __future__ import annotations

import pytest

from wavelet.errors import InvalidName, InvalidRequest
from wavelet.image.reference import Digest, Platform, Reference, Repository, valid_path, valid_tag
from wavelet.kinds.conda.model.node import CondaEnvironment
from wavelet.kinds.frozen.node import FrozenImage
from wavelet.kinds.mirrored.node import MirroredImage
from wavelet.kinds.registry_image.node import RegistryImage
from wavelet.plan.delivery import Strategy, token_of
from wavelet.plan.node import Node
from wavelet.plan.tokens import check_name, target_name

AUTHORITY, TOKEN = "127.0.0.1:9090", "0123456789abcdef" * 2
AMD64 = Platform("linux", "amd64")
REPOSITORY = Repository("registry.example", "team/frozen")
BUSYBOX = RegistryImage(Reference.parse("busybox:1.36"), AMD64)
MANY = tuple(f"{name}=1" for name in "abcdef")


def packages(*specs: str) -> CondaEnvironment:
    return CondaEnvironment((*specs, "conda-forge::procps-ng"), ("bioconda",), AMD64, BUSYBOX)


@pytest.mark.parametrize(
    ("image", "strategy", "name"),
    [
        (packages("bioconda::samtools=1.17"), "", "samtools:1.17--T"),
        (packages("samtools=1.17=h0_1"), "imageSuffix", "samtools:1.17--T"),
        (packages("samtools=1.17"), "tagPrefix", "build:samtools-1.17--T"),
        (packages("samtools=1.17"), "none", "build:T"),
        (packages("samtools"), "", "samtools:T"),
        (packages("samtools"), "tagPrefix", "build:samtools--T"),
        (packages("bcftools=1.17", "samtools=1.17"), "", "bcftools_samtools:1.17--T"),
        (packages("bwa=0.7.18", "samtools=1.17"), "", "bwa_samtools:T"),
        (packages("bwa=0.7.18", "samtools=1.17"), "tagPrefix", "build:bwa-0.7.18_samtools-1.17--T"),
        (packages(*MANY), "", "a_b_c_d_pruned:1--T"),
        (packages(*MANY[:5]), "", "a_b_c_d_e:1--T"),
        (packages("R-Base=4.1!2"), "", "r-base:4.12--T"),
        (packages(f"{'a' * 70}=1", f"{'b' * 70}=1"), "tagPrefix", f"build:{'a' * 70}-1--T"),
        (packages(*(f"{each * 40}=1" for each in "abc")), "", f"{'a' * 40}:1--T"),
        (packages(f"{'a' * 79}-b=1"), "", f"{'a' * 79}:1--T"),
        (packages(*(f"{each * 200}=1" for each in "abc")), "imageSuffix", f"{'a' * 80}:1--T"),
        (BUSYBOX, "", "library/busybox:1.36--T"),
        (BUSYBOX, "tagPrefix", "build:busybox-1.36--T"),
        (RegistryImage(Reference.parse(f"quay.io/a/b@sha256:{'5' * 64}")), "", "a/b:sha256-555555555555--T"),
    ],
)
def test_a_frozen_image_is_called_after_what_was_asked_for(image: Node, strategy: Strategy, name: str) -> None:
    plan = FrozenImage(image, strategy=strategy)
    expected = f"{AUTHORITY}/frozen/{name.replace('T', TOKEN)}"
    assert target_name(AUTHORITY, TOKEN, plan) == expected
    path, _, tag = expected.removeprefix(f"{AUTHORITY}/").rpartition(":")
    assert valid_path(path)
    assert valid_tag(tag)
    assert token_of(tag) == TOKEN
    check_name(AUTHORITY, plan)


@pytest.mark.parametrize(
    ("strategy", "name"),
    [
        ("", "team/frozen:samtools-1.17--T"),
        ("tagPrefix", "team/frozen:samtools-1.17--T"),
        ("imageSuffix", "team/frozen/samtools:1.17--T"),
        ("none", "team/frozen:T"),
    ],
)
def test_in_a_repository_its_tag_tells_by_default(strategy: Strategy, name: str) -> None:
    plan = FrozenImage(packages("samtools=1.17"), REPOSITORY, strategy)
    assert target_name(AUTHORITY, TOKEN, plan) == f"registry.example/{name.replace('T', TOKEN)}"


def test_a_mirrored_image_keeps_its_name_and_digest() -> None:
    target = Repository("registry.example", "mirror/library/busybox")
    assert target_name(AUTHORITY, TOKEN, MirroredImage(BUSYBOX, target)) == f"{target}:1.36"
    digest = Digest(f"sha256:{'5' * 64}")
    pinned = RegistryImage(Reference.parse(f"busybox@{digest}"))
    assert target_name(AUTHORITY, TOKEN, MirroredImage(pinned, target)) == f"{target}@{digest}"


def test_a_name_that_is_too_long_is_refused_by_what_the_user_has_set() -> None:
    long = RegistryImage(Reference.parse(f"quay.io/{'/'.join(['a' * 60] * 4)}:1"), AMD64)
    with pytest.raises(InvalidName, match=r"^containerImage: the repository path has 243 characters"):
        check_name(AUTHORITY, FrozenImage(long))
    check_name(AUTHORITY, FrozenImage(long, REPOSITORY))
    with pytest.raises(InvalidName, match=r"^buildRepository: the name registry"):
        check_name(AUTHORITY, FrozenImage(long, REPOSITORY, "imageSuffix"))


@pytest.mark.parametrize("host", [AUTHORITY, "localhost:9090", "[::1]:9090", "127.0.0.2:9090"])
def test_nothing_is_pushed_to_the_nodes_own_registry(host: str) -> None:
    with pytest.raises(InvalidRequest, match=r"^buildRepository: .* leave it out"):
        check_name(AUTHORITY, FrozenImage(BUSYBOX, Repository(host, "frozen")))
    check_name("node.example:9090", FrozenImage(BUSYBOX, Repository("localhost:9090", "frozen")))
    check_name(AUTHORITY, FrozenImage(BUSYBOX, Repository("localhost:9091", "frozen")))
