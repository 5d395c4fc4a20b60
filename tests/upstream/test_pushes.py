"""Pushes to a real registry (docker-registry), with and without logins, tokens, room, and luck."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from doubles.cutter import Cutter
from lab import images
from lab.disks import mounted
from lab.push_sources import PIECE, Pushed
from lab.registry import PASSWORDS, Registry
from lab.token_front import USER, TokenFront
from wavelet.errors import AccessRefused, UpstreamBroken, UpstreamError
from wavelet.image.image import OCI_MANIFEST, Descriptor
from wavelet.image.reference import Digest, Reference, Repository
from wavelet.plan.tokens import NOBODY, Identity, Login
from wavelet.upstream import push_plan
from wavelet.upstream.client import Upstream

ANN = Identity(uid=1, login=Login("ann", PASSWORDS["ann"]), login_key="k")

pytestmark = pytest.mark.registry


@pytest.fixture(params=[None, ("ann",)], ids=["open", "login"])
def real(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Registry]:
    running = Registry(tmp_path / "registry", request.param)
    running.start()
    yield running
    running.stop()


@pytest.fixture
def plain(tmp_path: Path) -> Iterator[Registry]:
    running = Registry(tmp_path / "registry")
    running.start()
    yield running
    running.stop()


@pytest.fixture(params=[False, True], ids=["memory", "file"])
def in_file(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Pushed, "in_file", request.param)


def some(mebibytes: int) -> Pushed:
    return Pushed(os.urandom(mebibytes * PIECE + 7))


async def push(upstream: Upstream, repository: Repository, pushed: Pushed, identity: Identity = ANN) -> bool:
    return await upstream.pusher.push_blob(repository, pushed.source, identity, on_bytes=pushed.on_bytes)


async def pulled(upstream: Upstream, repository: Repository, digest: Digest, identity: Identity = ANN) -> bytes:
    async with upstream.blob(repository, digest, identity) as stream:
        return b"".join([chunk async for chunk in stream.chunks])


@pytest.mark.usefixtures("in_file")
async def test_an_image_is_pushed_and_pulled(real: Registry, upstream: Upstream) -> None:
    image, pusher = images.busybox(images.layer({"etc/lab": "x" * 100})), upstream.pusher
    repository = Repository(real.host, "lab/pushed")
    assert await pusher.has_manifest(repository, "1", ANN) is None
    for data in image.blobs.values():
        pushed = Pushed(data)
        assert await push(upstream, repository, pushed)
        assert not await push(upstream, repository, pushed)
        assert pushed.sent == len(data)
        assert await pulled(upstream, repository, pushed.digest) == data
    await pusher.push_manifest(repository, "1", image.document, image.media_type, ANN)
    found = Descriptor(image.media_type, Digest.of(image.document), len(image.document))
    assert await pusher.has_manifest(repository, "1", ANN) == found
    assert await pusher.has_manifest(repository, found.digest, ANN) == found


@pytest.mark.usefixtures("in_file")
async def test_a_large_blob_in_chunks(real: Registry, upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(push_plan, "WHOLE_LIMIT", PIECE)
    monkeypatch.setattr(push_plan, "CHUNK_SIZE", 3 * PIECE)
    repository, pushed = Repository(real.host, "lab/pushed"), some(20)
    assert await push(upstream, repository, pushed)
    assert await pulled(upstream, repository, pushed.digest) == pushed.data
    assert real.count("/uploads/", "PATCH") == 7


async def test_a_mount(real: Registry, upstream: Upstream) -> None:
    base, pushed = Repository(real.host, "lab/base"), some(1)
    assert await push(upstream, base, pushed)
    onto = Repository(real.host, "lab/onto")
    assert not await upstream.pusher.push_blob(onto, pushed.source, ANN, mount_from=[base])
    assert await pulled(upstream, onto, pushed.digest) == pushed.data
    assert real.count("/uploads/", "PUT") == 1


@pytest.mark.parametrize("real", [("ann",)], indirect=True)
async def test_refused(real: Registry, upstream: Upstream) -> None:
    repository, pushed = Repository(real.host, "lab/pushed"), some(1)
    wrong = Identity(uid=1, login=Login("ann", "x"), login_key="x")
    for identity, by in ((NOBODY, "anonymous"), (wrong, "the client's own login")):
        with pytest.raises(AccessRefused, match=rf"refuses a push to {repository} \(asked as: {by}\)"):
            await push(upstream, repository, pushed, identity)
        with pytest.raises(AccessRefused, match="with the right to push to"):
            await upstream.pusher.push_manifest(repository, "1", b"{}", OCI_MANIFEST, identity)


@pytest.mark.usefixtures("in_file")
async def test_a_connection_that_breaks(plain: Registry, upstream: Upstream) -> None:
    """This registry takes up nothing that broke off within a request: it begins anew, and is right in the end."""
    pushed = some(60)
    async with Cutter(plain.host, 10 * PIECE, 40 * PIECE) as cutter:
        repository = Repository(cutter.host, "lab/pushed")
        assert await push(upstream, repository, pushed)
        assert await pulled(upstream, repository, pushed.digest) == pushed.data
    assert pushed.sent == len(pushed.data) and cutter.cuts == []


async def test_a_registry_that_is_killed_and_started_again(
    plain: Registry, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(push_plan, "WHOLE_LIMIT", PIECE)
    monkeypatch.setattr(push_plan, "CHUNK_SIZE", 3 * PIECE)
    repository, pushed = Repository(plain.host, "lab/pushed"), some(30)
    killed: list[asyncio.Future[None]] = []

    def kill_and_start() -> None:
        assert plain._process is not None
        plain._process.stop(signal.SIGKILL)
        plain.start()

    def on_piece(offset: int) -> None:
        if offset > 10 * PIECE and not killed:
            killed.append(asyncio.ensure_future(asyncio.to_thread(kill_and_start)))

    pushed.on_piece = on_piece
    assert await push(upstream, repository, pushed)
    await killed[0]
    assert await pulled(upstream, repository, pushed.digest) == pushed.data


async def test_a_disk_that_is_full(tmp_path: Path, upstream: Upstream) -> None:
    with mounted(tmp_path / "small", "8m") as place:
        registry = Registry(place / "registry")
        registry.start()
        try:
            repository = Repository(registry.host, "lab/pushed")
            with pytest.raises(UpstreamError, match=r"has no room left: it answers 500.*; make room there") as raised:
                await push(upstream, repository, some(20), NOBODY)
            assert not raised.value.passing
        finally:
            registry.stop()


async def test_what_a_manifest_names_has_to_be_there(plain: Registry, upstream: Upstream) -> None:
    repository = Repository(plain.host, "lab/pushed")
    config = Descriptor("application/vnd.oci.image.config.v1+json", Digest.of(b"{}"), 2)
    manifest = json.dumps({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config.as_json(), "layers": []})
    with pytest.raises(UpstreamError, match=r"misses a blob of manifest 1 that it had .*; ask again"):
        await upstream.pusher.push_manifest(repository, "1", manifest.encode(), OCI_MANIFEST, NOBODY)
    with pytest.raises(UpstreamBroken, match="does not take manifest 1: it answers 400"):
        await upstream.pusher.push_manifest(repository, "1", b"no JSON", OCI_MANIFEST, NOBODY)


async def test_referrers_are_listed_under_the_fall_back_tag(plain: Registry, upstream: Upstream) -> None:
    repository, empty = Repository(plain.host, "lab/pushed"), Pushed(b"{}")
    assert await push(upstream, repository, empty, NOBODY)
    config = Descriptor("application/vnd.oci.empty.v1+json", empty.digest, 2).as_json()
    document = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": []}
    image = json.dumps(document).encode()
    subject = Descriptor(OCI_MANIFEST, Digest.of(image), len(image))
    await upstream.pusher.push_manifest(repository, "1", image, OCI_MANIFEST, NOBODY)
    for number in range(3):
        more = {"subject": subject.as_json(), "annotations": {"number": str(number)}}
        data = json.dumps(document | more).encode()
        await upstream.pusher.push_manifest(repository, Digest.of(data), data, OCI_MANIFEST, NOBODY)
    listed = (await upstream.referrers(repository, subject.digest, NOBODY)).descriptors
    assert [each["annotations"] for each in listed] == [{"number": str(number)} for number in range(3)]
    found = await upstream.head(Reference(repository, "1"), NOBODY)
    assert found.digest == subject.digest


@pytest.mark.usefixtures("in_file")
async def test_tokens_of_a_real_registry(
    upstream: Upstream, front: tuple[str, TokenFront], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(push_plan, "WHOLE_LIMIT", PIECE)
    monkeypatch.setattr(push_plan, "CHUNK_SIZE", 2 * PIECE)
    host, made = front
    alice = Identity(uid=1, login=USER, login_key="a")
    base, onto, pushed = Repository(host, "lab/base"), Repository(host, "lab/onto"), some(9)
    made.lifetime = 1
    assert await push(upstream, base, pushed, alice)
    assert not await upstream.pusher.push_blob(onto, pushed.source, alice, mount_from=[base])
    assert set(made.scopes) == {
        "repository:lab/base:pull,push",
        "repository:lab/onto:pull,push",
        "repository:lab/onto:pull,push repository:lab/base:pull",
    }
    with pytest.raises(AccessRefused, match="refuses a push"):
        await push(upstream, onto, some(1), NOBODY)


async def test_two_nodes_push_the_same(plain: Registry, client: Any) -> None:
    nodes: list[Upstream] = [await client(), await client()]
    repository, pushed = Repository(plain.host, "lab/pushed"), some(10)
    await asyncio.gather(*(push(node, repository, pushed, NOBODY) for node in nodes))
    assert await pulled(nodes[0], repository, pushed.digest) == pushed.data


@pytest.mark.skopeo
async def test_skopeo_reads_what_was_pushed(plain: Registry, upstream: Upstream, tmp_path: Path) -> None:
    image = images.busybox(images.layer({"etc/lab": "x" * 100}), family=images.OCI)
    repository = Repository(plain.host, "lab/pushed")
    for data in image.blobs.values():
        assert await push(upstream, repository, Pushed(data), NOBODY)
    await upstream.pusher.push_manifest(repository, "1", image.document, image.media_type, NOBODY)
    command = ["skopeo", "copy", "-q", "--src-tls-verify=false", f"docker://{repository}:1", f"dir:{tmp_path / 'copy'}"]
    process = await asyncio.create_subprocess_exec(*command)
    async with asyncio.timeout(60):
        assert await process.wait() == 0
