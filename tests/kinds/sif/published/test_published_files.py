"""Files at URLs, fetched once from a server that can be told to fail, and answered as `oras://` names take them."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from lab.conda_channel import ChannelServer
from lab.services import Client, open_services
from wavelet.config import ConfigError
from wavelet.errors import AccessRefused, InvalidRequest, NotFound, UpstreamBroken, UpstreamUnreachable
from wavelet.front.grpc.services import Services
from wavelet.image.image import Image
from wavelet.kinds.sif.manifest import SIF_CONFIG, SIF_LAYER
from wavelet.kinds.sif.published.node import PublishedSif
from wavelet.kinds.sif.published.sources import url_of
from wavelet.plan.tokens import NOBODY, Identity
from wavelet.requests.request import About, Request
from wavelet.store.content import Committed

NAME = "samtools:1.17--h00cdaf9_0"
HEADER = b"#!/usr/bin/env run-singularity\n\0SIF_MAGIC\x0001\x0002\0"
SIF = HEADER.ljust(128, b"\0") + os.urandom(3_000_000)
OTHER = HEADER.ljust(128, b"\0") + os.urandom(2_000_000)

Opened = tuple[Services, Client]
Open = Callable[..., AbstractAsyncContextManager[Opened]]


@pytest.fixture
def depot(tmp_path: Path) -> Iterator[ChannelServer]:
    directory = tmp_path / "singularity"
    directory.mkdir()
    (directory / NAME).write_bytes(SIF)
    with ChannelServer({"singularity": directory}) as server:
        yield server


@pytest.fixture
def node(tmp_path: Path, depot: ChannelServer) -> Open:
    """Return what opens a node that may fetch from the depot; the same node each time."""
    (tmp_path / "state").mkdir()

    def opened(**upstream: object) -> AbstractAsyncContextManager[Opened]:
        sif = {"sources": [depot.channel("singularity")]}
        return open_services(tmp_path / "state", sif=sif, upstream=upstream)

    return opened


@pytest.fixture
async def services(node: Open) -> AsyncIterator[Services]:
    async with node(tag_ttl=0) as (services, _):
        yield services


def asked(server: ChannelServer, name: str = NAME) -> PublishedSif:
    return PublishedSif(url_of(f"{server.channel('singularity')}/{name}"))


def change(server: ChannelServer, data: bytes, name: str = NAME) -> None:
    """Put another file into a file's place, of another time."""
    path = server.channels["singularity"] / name
    path.write_bytes(data)
    later = path.stat().st_mtime + 60
    os.utime(path, (later, later))


def layer_of(image: Image) -> str:
    (layer,) = (each for each in image.contents if each.descriptor.media_type == SIF_LAYER)
    return layer.descriptor.digest.hex


def digest_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def gets(server: ChannelServer) -> int:
    return server.count(NAME)


async def test_it_is_answered_as_a_sif_of_a_registry_is_and_fetched_once(depot: ChannelServer, node: Open) -> None:
    async with node() as (services, client):
        request = Request.of(asked(depot), NOBODY, About(api="test", image=""))
        token = (await services.requests.submissions.submit(request)).request.token
        base = f"/v2/wt/{token}/published/samtools"
        answer = await client.get(f"{base}/manifests/1.17--h00cdaf9_0")
        document = json.loads(await answer.read())
        (layer,) = document["layers"]
        assert document["config"]["mediaType"] == SIF_CONFIG
        assert layer["mediaType"] == SIF_LAYER
        assert layer["size"] == len(SIF)
        assert layer["annotations"] == {"org.opencontainers.image.title": f"{NAME}.sif"}
        config = await client.get(f"{base}/blobs/{document['config']['digest']}")
        assert await config.read() == b"{}"
        blob = f"{base}/blobs/{layer['digest']}"
        assert await (await client.get(blob)).read() == SIF
        part = await client.get(blob, headers={"Range": "bytes=1000000-1000009"})
        assert (part.status, await part.read()) == (206, SIF[1_000_000:1_000_010])
    # What is there is asked for by its first bytes, and then fetched.
    assert gets(depot) == 2


async def test_its_url_behind_sif_is_the_file_with_ranges(depot: ChannelServer, node: Open) -> None:
    path = f"/sif/http/{depot.host}/singularity/{NAME}"
    async with node() as (_, client):
        head = await client.head(path)
        assert (head.status, head.headers["Content-Length"]) == (200, str(len(SIF)))
        assert head.headers["Content-Disposition"] == f'attachment; filename="{NAME}.sif"'
        assert head.headers["ETag"] == f'"sha256:{digest_of(SIF)}"'
        assert await (await client.get(path)).read() == SIF
        rest = await client.get(path, headers={"Range": "bytes=2000000-", "If-Range": head.headers["ETag"]})
        assert (rest.status, await rest.read()) == (206, SIF[2_000_000:])
        assert (await client.get(path, headers={"If-None-Match": head.headers["ETag"]})).status == 304
        assert gets(depot) == 2
        for other, status in (("singularity/other:1", 404), ("elsewhere/x.sif", 403), ("singularity/a%5Cx", 400)):
            assert (await client.get(f"/sif/http/{depot.host}/{other}")).status == status, other
    depot.off()
    async with node(tag_ttl=0) as (_, client):
        assert await (await client.get(path)).read() == SIF


async def test_what_has_changed_is_fetched_anew_once_its_version_has_aged(
    depot: ChannelServer, services: Services
) -> None:
    plan = asked(depot)
    key, first = await services.resolver.realise(plan, NOBODY)
    assert layer_of(first) == digest_of(SIF)
    change(depot, OTHER)
    other, second = await services.resolver.realise(plan, NOBODY)
    assert (other == key, layer_of(second)) == (False, digest_of(OTHER))
    change(depot, SIF + b"longer")
    assert layer_of((await services.resolver.realise(plan, NOBODY))[1]) == digest_of(SIF + b"longer")


async def test_within_the_time_of_tags_nobody_is_asked(depot: ChannelServer, node: Open) -> None:
    async with node(tag_ttl=300) as (services, _):
        await services.resolver.realise(asked(depot), NOBODY)
    change(depot, OTHER)
    before = gets(depot)
    async with node(tag_ttl=300) as (services, _):
        _, image = await services.resolver.realise(asked(depot), NOBODY)
    assert (layer_of(image), gets(depot)) == (digest_of(SIF), before)


async def test_what_was_changed_before_it_was_fetched_is_pinned_anew(depot: ChannelServer, node: Open) -> None:
    async with node(tag_ttl=300) as (services, _):
        pinned = await services.resolver.pinned(asked(depot), NOBODY)
        assert pinned.public
        change(depot, OTHER)
        with pytest.raises(UpstreamBroken, match="has changed"):
            await services.resolver.make(pinned.plan, "other", NOBODY)
        _, image = await services.resolver.realise(asked(depot), NOBODY)
        assert layer_of(image) == digest_of(OTHER)


async def test_what_was_fetched_is_answered_while_the_host_is_away(depot: ChannelServer, node: Open) -> None:
    async with node(tag_ttl=0) as (services, _):
        await services.resolver.realise(asked(depot), NOBODY)
    depot.off()
    async with node(tag_ttl=0) as (services, _):
        _, image = await services.resolver.realise(asked(depot), NOBODY)
        assert layer_of(image) == digest_of(SIF)
        with pytest.raises(UpstreamUnreachable):
            await services.resolver.realise(asked(depot, "other:1"), NOBODY)
    async with node(tag_ttl=0, grace=0) as (services, _):
        with pytest.raises(UpstreamUnreachable):
            await services.resolver.realise(asked(depot), NOBODY)


async def test_a_host_that_takes_long_is_not_waited_for_where_an_answer_is_known(
    depot: ChannelServer, services: Services
) -> None:
    await services.resolver.realise(asked(depot), NOBODY)
    depot.fault(NAME, delay=20)
    _, image = await services.resolver.realise(asked(depot), NOBODY)
    assert layer_of(image) == digest_of(SIF)


async def test_a_broken_transfer_is_taken_up_where_it_broke(depot: ChannelServer, services: Services) -> None:
    path = depot.channels["singularity"] / NAME
    version = {"Last-Modified": "Tue, 04 Apr 2023 10:00:00 GMT"}
    os.utime(path, (1680602400, 1680602400))
    depot.fault(NAME, skip=1, times=1, body=SIF, headers=version, reset=1_000_000)
    _, image = await services.resolver.realise(asked(depot), NOBODY)
    assert layer_of(image) == digest_of(SIF)
    ranges = [int(seen.headers["range"].removeprefix("bytes=").rstrip("-")) for seen in depot.requests[2:]]
    assert len(ranges) == 1
    assert 0 < ranges[0] <= 1_000_000


async def test_a_resumption_never_joins_two_versions(depot: ChannelServer, node: Open) -> None:
    version = {"Last-Modified": "Tue, 04 Apr 2023 10:00:00 GMT"}
    os.utime(depot.channels["singularity"] / NAME, (1680602400, 1680602400))
    async with node(tag_ttl=300) as (services, _):
        pinned = await services.resolver.pinned(asked(depot), NOBODY)
        depot.fault(NAME, times=1, body=SIF, headers=version, reset=1_000_000)
        change(depot, OTHER.ljust(len(SIF), b"\0"))
        with pytest.raises(UpstreamBroken, match="has changed"):
            await services.resolver.make(pinned.plan, "x", NOBODY)


async def test_a_redirect_to_another_host_is_followed(depot: ChannelServer, services: Services, tmp_path: Path) -> None:
    (tmp_path / "bucket").mkdir()
    (tmp_path / "bucket" / "object").write_bytes(OTHER)
    with ChannelServer({"bucket": tmp_path / "bucket"}) as storage:
        depot.fault(NAME, redirect=f"{storage.channel('bucket')}/object?signature=1")
        _, image = await services.resolver.realise(asked(depot), NOBODY)
    assert layer_of(image) == digest_of(OTHER)


async def test_what_is_at_another_place_is_not_asked_for(depot: ChannelServer, services: Services) -> None:
    url = f"{depot.url}/elsewhere/x.sif"
    with pytest.raises(AccessRefused, match=r"sif\.sources"):
        await services.resolver.realise(PublishedSif(url), NOBODY)
    with pytest.raises(AccessRefused, match=r"sif\.sources"):  # as a record of another node may have it
        await services.resolver.realise(PublishedSif(url, "Tue, 04 Apr 2023 10:00:00 GMT", 5), NOBODY)
    assert depot.requests == []


async def test_what_was_evicted_is_fetched_again_if_it_is_still_the_same(
    depot: ChannelServer, services: Services
) -> None:
    _, image = await services.resolver.realise(asked(depot), NOBODY)
    (layer,) = (each for each in image.contents if each.descriptor.media_type == SIF_LAYER)
    assert (await services.cache.collect()).blobs > 0
    before = gets(depot)
    blob = await services.resolver.open(layer, NOBODY)
    assert isinstance(blob, Committed)
    assert (blob.path.read_bytes(), gets(depot)) == (SIF, before + 1)
    await services.cache.collect()
    change(depot, OTHER)
    with pytest.raises(UpstreamBroken, match="has changed"):
        await services.resolver.open(layer, NOBODY)


async def test_a_source_that_is_no_url_is_said_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"sif\.sources"):
        async with open_services(tmp_path, sif={"sources": ["depot.galaxyproject.org"]}):
            pass


async def test_what_is_not_there(depot: ChannelServer, services: Services) -> None:
    with pytest.raises(NotFound, match="other:1"):
        await services.resolver.realise(asked(depot, "other:1"), NOBODY)


@pytest.mark.parametrize("data", [b"<html>no such tool</html>", b"", b"\x1f\x8b" + bytes(1000)])
async def test_what_is_no_sif_is_refused_by_its_first_bytes(
    depot: ChannelServer, services: Services, data: bytes
) -> None:
    change(depot, data, "page")
    with pytest.raises(InvalidRequest, match="neither a SIF nor a squashfs"):
        await services.resolver.realise(asked(depot, "page"), NOBODY)
    assert depot.count("page") == 1


async def test_a_server_that_tells_no_version_is_refused(depot: ChannelServer, services: Services) -> None:
    depot.fault(NAME, body=SIF)
    with pytest.raises(UpstreamBroken, match="Last-Modified or ETag"):
        await services.resolver.realise(asked(depot), NOBODY)


async def test_what_takes_a_login_of_the_site_is_for_its_users_alone(
    depot: ChannelServer, node: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    depot.login, user = ("lab", "secret"), Identity(1000)
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login lab password secret\n")
    netrc.chmod(0o600)
    async with node() as (services, _):
        with pytest.raises(AccessRefused, match="401"):
            await services.resolver.realise(asked(depot), user)
    monkeypatch.setenv("NETRC", str(netrc))
    async with node() as (services, client):
        pinned = await services.resolver.pinned(asked(depot), user)
        _, image = await services.resolver.realise(asked(depot), user)
        assert (pinned.public, layer_of(image)) == (False, digest_of(SIF))
        for plan in (asked(depot), pinned.plan):
            with pytest.raises(AccessRefused, match="its users"):
                await services.resolver.realise(plan, NOBODY)
        assert (await client.get(f"/sif/http/{depot.host}/singularity/{NAME}")).status == 403
