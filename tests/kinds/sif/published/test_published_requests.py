"""Requests for files that others publish, as Nextflow sends them for nf-core's modules under Apptainer."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.conda_channel import ChannelServer
from lab.services import Client, open_services
from wavelet.image.image import parse_document
from wavelet.kinds.sif.manifest import SIF_LAYER

NAME = "samtools:1.17--h00cdaf9_0"
HEADER = b"#!/usr/bin/env run-singularity\n\0SIF_MAGIC\x0001\x0002\0"
SIF = HEADER.ljust(128, b"\0") + os.urandom(300_000)
NOTHING = {"entrypoint": None, "cmd": None, "env": None, "workingDir": None, "layers": []}


@pytest.fixture
def depot(tmp_path: Path) -> Iterator[ChannelServer]:
    directory = tmp_path / "singularity"
    directory.mkdir()
    (directory / NAME).write_bytes(SIF)
    (tmp_path / "state").mkdir()
    with ChannelServer({"singularity": directory}) as server:
        yield server


def asked(depot: ChannelServer, **members: Any) -> dict[str, Any]:
    return {"containerImage": f"{depot.channel('singularity')}/{NAME}", "containerConfig": NOTHING} | members


async def submit(client: Client, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    answer = await client.post(path, json=body)
    return answer.status, await answer.json()


async def pulled(client: Client, name: str) -> bytes:
    """Pull the file of an image by its name, as `oras` does."""
    path, _, tag = name.removeprefix("oras://").partition("/")[2].rpartition(":")
    manifest = await client.get(f"/v2/{path}/manifests/{tag}")
    assert manifest.status == 200, await manifest.text()
    (layer,) = parse_document(await manifest.read()).descriptors[1:]
    assert layer.media_type == SIF_LAYER
    return await (await client.get(f"/v2/{path}/blobs/{layer.digest}")).read()


@pytest.mark.parametrize("freeze", [False, True])
async def test_the_file_is_answered_under_an_oras_name(depot: ChannelServer, tmp_path: Path, freeze: bool) -> None:
    async with open_services(tmp_path / "state", sif={"sources": [depot.channel("singularity")]}) as (_, client):
        status, answer = await submit(client, "/v1alpha2/container", asked(depot, format="sif", freeze=freeze))
        assert status == 200, answer
        assert answer["targetImage"].startswith("oras://")
        assert await pulled(client, answer["targetImage"]) == SIF


async def test_below_sif_it_is_a_url_of_this_node(depot: ChannelServer, tmp_path: Path) -> None:
    async with open_services(tmp_path / "state", sif={"sources": [depot.channel("singularity")]}) as (_, client):
        status, answer = await submit(client, "/sif/v1alpha2/container", asked(depot))
        assert status == 200, answer
        path = "/" + answer["targetImage"].partition("://")[2].partition("/")[2]
        assert path.startswith("/sif/")
        assert await (await client.get(path)).read() == SIF


async def test_with_a_directory_it_is_a_path(depot: ChannelServer, tmp_path: Path) -> None:
    sif = {"sources": [depot.channel("singularity")], "directory": str(tmp_path / "sifs")}
    async with open_services(tmp_path / "state", sif=sif) as (_, client):
        status, answer = await submit(client, "/sif/container-token", asked(depot))
        assert status == 200, answer
        file = Path(answer["targetImage"])
        assert file.parent == tmp_path / "sifs"
        assert file.read_bytes() == SIF


async def test_a_file_of_another_place_is_refused_by_the_name_of_the_setting(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    async with open_services(tmp_path / "state") as (_, client):
        body = {"containerImage": "https://files.example/x.sif", "format": "sif"}
        status, answer = await submit(client, "/v1alpha2/container", body)
    assert (status, "sif.sources" in str(answer)) == (403, True)
