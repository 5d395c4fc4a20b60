"""Wave's `packages` as plans: every way to ask, what clients fill in by themselves, and mistakes."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from wavelet.errors import CallerError, InvalidName, InvalidRequest, NotServed, TooLarge
from wavelet.front.reading.submission import Submission
from wavelet.front.wave.models import SubmitBody
from wavelet.front.wave.translate import translate
from wavelet.image.reference import Platform, Reference
from wavelet.kinds.augment.node import AugmentedImage
from wavelet.kinds.conda.model.node import CondaEnvironment
from wavelet.kinds.conda.model.package_request import CondaDefaults
from wavelet.kinds.conda.model.packages import Package
from wavelet.kinds.frozen.node import FrozenImage
from wavelet.kinds.index.node import ImageIndex
from wavelet.kinds.registry_image.node import RegistryImage
from wavelet.kinds.sif.node import SifImage
from wavelet.kinds.table import FORMS
from wavelet.plan.canonical import canonical, decode, encode

AMD64, ARM64 = Platform("linux", "amd64"), Platform("linux", "arm64")
PROCPS = "conda-forge::procps-ng"
SITE = CondaDefaults.of("registry.example/ubuntu:24.04", (PROCPS,), ("conda-forge", "bioconda"), platform=AMD64)
BASE = RegistryImage(Reference.parse("registry.example/ubuntu:24.04"), AMD64)
CLIENTS = {
    "mambaImage": "mambaorg/micromamba:1.5.10-noble",
    "baseImage": "ubuntu:24.04",
    "basePackages": PROCPS,
    "commands": None,
}


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def submission(*, outer: Any = None, **members: Any) -> Submission:
    packages = {"type": "CONDA", "condaOpts": CLIENTS} | members
    return translate(msgspec.convert({"packages": packages} | (outer or {}), SubmitBody), "v1alpha2", SITE)


def conda(**members: Any) -> CondaEnvironment:
    plan = submission(**members).plan
    assert isinstance(plan, CondaEnvironment)
    assert decode(encode(plan), FORMS) == plan
    return plan


def plan(*specs: str, **members: Any) -> CondaEnvironment:
    values: dict[str, Any] = {"channels": ("conda-forge", "bioconda"), "platform": AMD64, "base": BASE}
    return CondaEnvironment(tuple(sorted(specs)), **(values | members))


def test_entries() -> None:
    entries = ["bioconda::salmon=1.10.3", "conda-forge::python>=3.10", "pip:numpy", "'Bwa = 0.7'"]
    expected = plan("bioconda::salmon=1.10.3", "conda-forge::python>=3.10", "bwa=0.7", "pip", PROCPS, pip=("numpy",))
    assert conda(entries=entries, channels=["conda-forge", "bioconda"]) == expected
    assert conda(entries=entries[::-1], channels=["conda-forge/", "bioconda", "bioconda"]) == expected


def test_an_environment() -> None:
    text = "name: x\nchannels: [bioconda]\ndependencies: [salmon=1.10.3, pip, {pip: [numpy]}]\nvariables: {A: b}\n"
    asked = submission(environment=b64(text), channels=["conda-forge"])
    expected = plan("salmon=1.10.3", "pip", PROCPS, pip=("numpy",), channels=("bioconda", "conda-forge"))
    assert isinstance(asked.plan, AugmentedImage)
    assert asked.plan.base == expected
    assert asked.plan.config.env == ("A=b",)
    config = {"env": ["A=c"], "cmd": ["x"]}
    over = submission(environment=b64(text), channels=["conda-forge"], outer={"containerConfig": config}).plan
    assert isinstance(over, AugmentedImage)
    assert over.config.env == ("A=c",)


def test_a_lock_as_environment() -> None:
    url = "https://conda.anaconda.org/conda-forge/linux-64/ca-certificates-2024.2.2-hbcca054_0.conda"
    asked = conda(environment=b64(f"# platform: linux-64\n@EXPLICIT\n{url}\n"))
    assert asked == plan(PROCPS, locked=(Package(url),))
    with pytest.raises(InvalidRequest, match="none for linux-aarch64"):
        submission(environment=b64(f"@EXPLICIT\n{url}\n"), outer={"containerPlatform": "arm64"})


def test_a_lock_at_a_url() -> None:
    url = "https://prefix.example/envs/x/conda-lock.yml"
    asked = conda(entries=[url], channels=["conda-forge"])
    assert asked == plan(PROCPS, channels=("conda-forge",), lock_location=url)


def test_a_package_at_a_url() -> None:
    url = "https://h.example/c/noarch/a-1-0.conda"
    assert conda(entries=[url, "bwa"]) == plan("bwa", PROCPS, locked=(Package(url),))


def test_channels() -> None:
    assert conda(entries=["a"]).channels == ("conda-forge", "bioconda")
    assert conda(entries=["a"], channels=["x", "defaults", "nodefaults", "x/"]).channels == ("x", "defaults")
    assert conda(entries=["a"], channels=["nodefaults"]).channels == ("conda-forge", "bioconda")
    assert conda(entries=["y::a"], channels=["x"]).channels == ("x",)


@pytest.mark.parametrize(
    ("options", "base", "specs"),
    [
        (None, BASE.reference, ("a", PROCPS)),
        ({}, BASE.reference, ("a", PROCPS)),
        (CLIENTS, BASE.reference, ("a", PROCPS)),
        ({"baseImage": "debian:12"}, Reference.parse("debian:12"), ("a", PROCPS)),
        ({"mambaImage": "my.example/mamba:1"}, BASE.reference, ("a", PROCPS)),
        ({"basePackages": ""}, BASE.reference, ("a",)),
        ({"basePackages": "bc  conda-forge::which=2"}, BASE.reference, ("a", "bc", "conda-forge::which=2")),
        ({"basePackages": "a=1"}, BASE.reference, ("a",)),
        ({"commands": []}, BASE.reference, ("a", PROCPS)),
    ],
)
def test_options(options: Any, base: Reference, specs: tuple[str, ...]) -> None:
    asked = conda(entries=["a"], condaOpts=options)
    assert asked.base == RegistryImage(base, AMD64)
    assert asked.specs == tuple(sorted(specs))


@pytest.mark.parametrize(
    ("image", "base"),
    [
        ("mambaorg/micromamba:1.4.1", BASE.reference),
        ("docker.io/mambaorg/micromamba:2-amazon2023", BASE.reference),
        (None, BASE.reference),
        ("my.example/mamba:1", Reference.parse("my.example/mamba:1")),
    ],
)
def test_the_first_template_adds_to_the_image_of_the_tool(image: str | None, base: Reference) -> None:
    outer = {"buildTemplate": "conda/micromamba:v1"}
    asked = conda(entries=["a"], condaOpts={"mambaImage": image, "baseImage": "x"}, outer=outer)
    assert asked.base == RegistryImage(base, AMD64)


@pytest.mark.parametrize("template", ["conda/micromamba:v2", "conda/pixi:v1", "conda-pixi/v1", ""])
def test_templates(template: str) -> None:
    assert conda(entries=["a"], outer={"buildTemplate": template}) == plan("a", PROCPS)


def test_options_of_pixi() -> None:
    members: dict[str, Any] = {
        "condaOpts": None,
        "pixiOpts": {"pixiImage": "x", "baseImage": "debian:12", "basePackages": "bc"},
    }
    asked = conda(entries=["a"], outer={"buildTemplate": "conda/pixi:v1"}, **members)
    assert asked == plan("a", "bc", base=RegistryImage(Reference.parse("debian:12"), AMD64))


def test_platforms_config_and_includes() -> None:
    outer: dict[str, Any] = {"containerPlatform": "linux/amd64,linux/arm64", "containerIncludes": ["busybox"]}
    asked = submission(entries=["samtools=1.17"], outer=outer)
    assert isinstance(asked.plan, ImageIndex)
    for platform, member in asked.plan.members:
        assert isinstance(member, AugmentedImage)
        assert isinstance(member.base, CondaEnvironment)
        assert member.base.platform == member.base.base.platform == platform == member.includes[0].platform
    assert asked.image == "conda/samtools:1.17"
    with pytest.raises(NotServed, match=r"^containerPlatform: "):
        submission(entries=["a"], outer={"containerPlatform": "linux/arm/v7"})


def test_a_base_by_its_digest() -> None:
    pinned = f"debian:12@sha256:{'a' * 64}"
    asked = conda(entries=["a"], condaOpts={"baseImage": pinned})
    assert asked.base.reference == Reference.parse(f"debian@sha256:{'a' * 64}")


def test_one_image_for_all_who_ask_the_same() -> None:
    text = "channels: [conda-forge, bioconda]\ndependencies: ['salmon=1.10.3']"
    plans = [
        conda(entries=["salmon=1.10.3"], channels=["conda-forge", "bioconda"]),
        conda(entries=[" 'Salmon =1.10.3.*' "], channels=None, condaOpts=None),
        conda(environment=b64(text), channels=None),
        conda(environment=b64("salmon=1.10.3\n")),
    ]
    assert len(set(map(canonical, plans))) == 1


@pytest.mark.parametrize(
    ("members", "field", "words"),
    [
        ({"entries": None}, "packages.entries", "nothing to install"),
        ({"entries": []}, "packages.entries", "nothing to install"),
        ({"entries": ["a"], "environment": b64("a")}, "packages.entries", "together with packages.environment"),
        ({"entries": ["a"], "type": None}, "packages.type", "is missing"),
        ({"entries": ["a"], "type": "conda"}, "packages.type", "CONDA"),
        ({"entries": ["a", "b="]}, "packages.entries[1]", "'b='"),
        ({"entries": ["pip::numpy"]}, "packages.entries[0]", "one colon"),
        ({"entries": ["pip:-r x"]}, "packages.entries[0]", "option of pip"),
        ({"entries": ["a", "https://x.example/l.yml"]}, "packages.entries[1]", "leave out the other"),
        ({"entries": ["https://u:pw@x.example/l.yml"]}, "packages.entries[0]", "login"),
        ({"entries": ["a"], "channels": ["a b"]}, "packages.channels[0]", "not a channel"),
        ({"entries": ["a"], "condaOpts": {"basePackages": "b="}}, "packages.condaOpts.basePackages", "'b='"),
        ({"environment": "x"}, "packages.environment", "not base64"),
        ({"environment": "ZGF0Ye=="}, "packages.environment", "base64"),
        ({"environment": base64.b64encode(b"\xff\xfe").decode()}, "packages.environment", "UTF-8"),
        ({"environment": b64("name: x")}, "packages.environment", "no dependencies"),
        ({"entries": ["a"], "outer": {"buildTemplate": "conda/x:v1"}}, "buildTemplate", "conda/micromamba:v2"),
        ({"entries": ["a"], "outer": {"buildTemplate": "cran/installr:v1"}}, "buildTemplate", "conda/micromamba:v2"),
    ],
)
def test_a_mistake_is_named(members: dict[str, Any], field: str, words: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        submission(**members)
    assert caught.value.field == field
    assert caught.value.message.startswith(f"{field}: ")
    assert words in caught.value.message


@pytest.mark.parametrize("name", ["condaOpts", "pixiOpts"])
def test_a_wrong_image_is_named(name: str) -> None:
    outer = {"buildTemplate": "conda/pixi:v1" if name == "pixiOpts" else None}
    with pytest.raises(InvalidName) as caught:
        submission(entries=["a"], outer=outer, **{name: {"baseImage": "UPPER"}})
    assert caught.value.field == f"packages.{name}.baseImage"


@pytest.mark.parametrize(
    ("members", "field"),
    [
        ({"type": "CRAN", "entries": ["dplyr"]}, "packages.type"),
        ({"type": "SPACK", "entries": ["samtools"]}, "packages.type"),
        ({"entries": ["a"], "condaOpts": {"commands": ["RUN x"]}}, "packages.condaOpts.commands"),
        ({"entries": ["a"], "outer": {"scanMode": "async"}}, "scanMode"),
    ],
)
def test_what_this_version_does_not_serve(members: dict[str, Any], field: str) -> None:
    with pytest.raises(NotServed, match=rf"^{field}: this version of wavelet [^.]*$"):
        submission(**members)


def test_too_much() -> None:
    for members in ({"entries": ["a"] * 1001}, {"channels": ["c"] * 101}):
        with pytest.raises(TooLarge):
            submission(**({"entries": ["a"]} | members))


RECORDED = {
    "conda-string": plan("bioconda::salmon=1.10.3", "conda-forge::python>=3.10", "pip", PROCPS, pip=("numpy",)),
    "conda-file": plan("salmon=1.10.3", "pip", PROCPS, pip=("numpy",)),
    "conda-lock": plan(
        PROCPS,
        locked=(Package("https://conda.anaconda.org/conda-forge/linux-64/ca-certificates-2024.2.2-hbcca054_0.conda"),),
    ),
    "conda-remote": plan(PROCPS, lock_location="https://prefix.dev/envs/pditommaso/wave/6x60arx3od13/conda-lock.yml"),
    "bundle-conda": plan("salmon=1.10.3", PROCPS),
    "poll": plan("salmon=1.10.3", PROCPS),
    "pollfail": plan("salmon=1.10.3", PROCPS),
    "singularity-conda": plan("salmon=1.10.3", PROCPS),
    "singularity-oci": plan("salmon=1.10.3", PROCPS),
    "conda-opts": "packages.condaOpts.commands",
    "freeze-conda": plan("salmon=1.10.3", PROCPS),
    "singularity-native": plan("salmon=1.10.3", PROCPS),
}


def test_what_nextflow_sends(recording: dict[str, Any], request: pytest.FixtureRequest) -> None:
    version, _, case = request.node.callspec.id.partition("-")
    if not recording["body"] or not recording["body"].get("packages"):
        return
    expected = RECORDED.get(case.removesuffix("-post"))
    body = msgspec.convert(recording["body"], SubmitBody)
    if isinstance(expected, str):
        with pytest.raises(NotServed) as caught:
            translate(body, "v1alpha2", SITE)
        assert caught.value.field == expected
        return
    found = translate(body, "v1alpha2", SITE).plan
    found = found.image if isinstance(found, FrozenImage) else found
    assert isinstance(found, SifImage) == ("singularity-native" in case)
    found = found.image if isinstance(found, SifImage) else found
    found = found.base if isinstance(found, AugmentedImage) else found
    if expected is None:
        assert isinstance(found, CondaEnvironment)
        assert len(found.specs) == 2
    else:
        assert found == expected, version


def test_what_later_versions_send() -> None:
    sent = json.loads((Path(__file__).parent / "bodies/26.04.6-multi-platform-post.json").read_text())["body"]
    sent |= {"containerImage": None, "containerFile": None}
    sent["packages"] = {"type": "CONDA", "entries": ["a"], "condaOpts": CLIENTS, "pixiOpts": None, "cranOpts": None}
    assert isinstance(translate(msgspec.convert(sent, SubmitBody), "v1alpha2", SITE).plan, ImageIndex)


def test_a_members_type_is_checked() -> None:
    with pytest.raises((CallerError, msgspec.ValidationError)):
        submission(entries="salmon")
