"""Containers that are SIF files already: named by a URL, or by `oras://` and a registry's name."""

from __future__ import annotations

from typing import Any

import pytest

from wavelet.errors import InvalidRequest
from wavelet.front.reading.container import read_container
from wavelet.front.reading.values import ConfigValues, ContainerValues
from wavelet.image.reference import Platform
from wavelet.kinds.conda.model.package_request import CondaDefaults
from wavelet.kinds.frozen.node import FrozenImage
from wavelet.kinds.registry_image.node import RegistryImage
from wavelet.kinds.sif.node import SifImage
from wavelet.kinds.sif.published.node import PublishedSif
from wavelet.plan.node import source

URL = "https://depot.galaxyproject.org/singularity/samtools:1.17--h00cdaf9_0"
ORAS = "oras://community.wave.seqera.io/library/samtools:1.17"


def read(image: str, **members: Any) -> Any:
    site = CondaDefaults.of("ubuntu:24.04", (), ("conda-forge",), platform=Platform("linux", "amd64"))
    return read_container(ContainerValues(image=image, **{"format": "sif"} | members), site)


@pytest.mark.parametrize("config", [ConfigValues(), ConfigValues(entrypoint=(), cmd=(), env=(), layers=())])
def test_a_url_is_the_file_that_is_there(config: ConfigValues) -> None:
    asked = read(URL, config=config)
    assert isinstance(asked.plan, SifImage)
    assert (asked.plan.image, asked.image) == (PublishedSif(URL), URL)


def test_a_file_is_frozen_too() -> None:
    asked = read(URL, freeze=True)
    assert isinstance(asked.plan, FrozenImage)
    assert source(asked.plan) == PublishedSif(URL)


def test_an_oras_name_is_the_image_of_the_registry() -> None:
    image = source(read(ORAS).plan)
    assert isinstance(image, RegistryImage)
    assert str(image.reference) == ORAS.removeprefix("oras://")


@pytest.mark.parametrize("name", [URL, ORAS])
@pytest.mark.parametrize(
    ("members", "field", "says"),
    [
        ({"format": ""}, "containerImage", "format: sif"),
        ({"config": ConfigValues(env=("A=1",))}, "containerConfig", "singularity_pull_docker_container"),
        ({"includes": ("busybox",)}, "containerIncludes", "singularity_pull_docker_container"),
    ],
)
def test_what_cannot_be_asked_of_a_file(name: str, members: dict[str, Any], field: str, says: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        read(name, **members)
    assert raised.value.field == field
    assert says in raised.value.message


def test_what_is_at_a_url_is_not_mirrored() -> None:
    with pytest.raises(InvalidRequest, match="mirror: images of registries"):
        read(URL, mirror=True, build_repository="registry.example/copies")


def test_a_url_of_no_file_is_refused_by_the_member_that_has_it() -> None:
    with pytest.raises(InvalidRequest, match=r"containerImage: .*URL of a file"):
        read(f"{URL}?token=1")
