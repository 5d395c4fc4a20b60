"""Hosted repositories over a real store: what is kept, for whom, within which limit, and what goes with what."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from lab import images
from lab.hosted import ANN, BOB, chunks, index_of, push_blob, push_image, small_image
from lab.node import Node, open_node
from wavelet.config import Settings
from wavelet.errors import (
    BlobNotFound,
    ChunkMisplaced,
    DigestMismatch,
    ImageNotFound,
    InvalidRequest,
    ManifestInvalid,
    NoSpace,
    OurError,
    UploadNotFound,
    WaitExpired,
    WaveletError,
)
from wavelet.hosted import uploads as uploads_module
from wavelet.hosted.model import HostedRepository, readers_view
from wavelet.hosted.policy import UNNAMED_LIFETIME, UNTAGGED_LIFETIME
from wavelet.hosted.pushes import CHECKED_AT_ONCE
from wavelet.hosted.service import HostedServices
from wavelet.hosted.tables import Tables
from wavelet.hosted.uploads import Piece
from wavelet.image.image import OCI_MANIFEST
from wavelet.image.reference import Digest
from wavelet.plan.tokens import ANONYMOUS, NOBODY, Identity, Principal
from wavelet.store.content import Committed
from wavelet.store.owned import OwnedContent
from wavelet.store.upload import Upload

TOOL = HostedRepository(ANN, "tool")
OTHER = HostedRepository(ANN, "team/other")
ANNS = readers_view(Identity(1001), "tool")
BOBS = readers_view(Identity(1002), "tool")


def here(node: Node, image: images.Image) -> list[bool]:
    digests = [image.digest, *image.blobs, *(member.digest for member in image.members)]
    return [bool(node.store.size_of(Digest(digest))) for digest in digests]


async def evict_all(node: Node) -> None:
    await node.store.room.shrink(0)


async def test_an_image_is_read_as_it_came(node: Node, hosted: HostedServices) -> None:
    image = small_image("one")
    digest = await push_image(hosted, TOOL, "1", image)
    for reference in ("1", digest):
        found = await hosted.images.get(ANNS, reference)
        assert (found.descriptor.digest, found.descriptor.media_type) == (image.digest, image.media_type)
        assert await hosted.images.document(found.content) == image.document
    for text, blob in image.blobs.items():
        content = hosted.images.blob(ANNS, Digest(text))
        assert content is not None
        opened = await hosted.images.open(content.content)
        assert isinstance(opened, Committed)
        assert opened.path.read_bytes() == blob


async def test_a_manifest_with_many_members_lets_others_have_their_turn(
    hosted: HostedServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    blobs = [await push_blob(hosted, TOOL, str(number).encode()) for number in range(200)]
    layers = [{"mediaType": "x/y", "digest": each, "size": len(str(at))} for at, each in enumerate(blobs)]
    document = json.dumps({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": layers[0], "layers": layers * 2})
    turn, looked, size_of = 0, Counter[int](), Tables.blob_size

    def counted(tables: Tables, repository: HostedRepository, digest: Digest) -> int | None:
        looked[turn] += 1
        return size_of(tables, repository, digest)

    async def others() -> None:
        nonlocal turn
        while True:
            await asyncio.sleep(0)
            turn += 1

    monkeypatch.setattr(Tables, "blob_size", counted)
    other = asyncio.create_task(others())
    await hosted.pushes.put_manifest(TOOL, "1", document.encode(), OCI_MANIFEST, [])
    other.cancel()
    assert (looked.total(), max(looked.values()) <= CHECKED_AT_ONCE) == (200, True)


async def test_a_name_is_its_owners(hosted: HostedServices) -> None:
    digest = await push_image(hosted, TOOL, "1", small_image("anns"))
    with pytest.raises(ImageNotFound):
        await hosted.images.get(BOBS, "1")
    with pytest.raises(ImageNotFound):
        await hosted.images.get(BOBS, digest)
    assert hosted.images.blob(BOBS, Digest(next(iter(small_image("anns").blobs)))) is None
    everybodys = await push_image(hosted, HostedRepository(ANONYMOUS, "tool"), "1", small_image("everybodys"))
    assert (await hosted.images.get(BOBS, "1")).descriptor.digest == everybodys
    assert (await hosted.images.get(ANNS, "1")).descriptor.digest == digest
    bobs = await push_image(hosted, HostedRepository(BOB, "tool"), "1", small_image("bobs"))
    assert (await hosted.images.get(BOBS, "1")).descriptor.digest == bobs
    with pytest.raises(ImageNotFound):
        await hosted.pushes.delete_manifest(HostedRepository(BOB, "tool"), digest)
    assert hosted.images.page_of_tags(readers_view(NOBODY, "tool"), None, None) == (["1"], False)


async def test_who_was_told_that_everybodys_has_something_need_not_push_it(hosted: HostedServices) -> None:
    """A push asks by HEAD what is there, which is answered from what is the caller's own and what is everybody's."""
    index = index_of("amd64", "arm64")
    await push_image(hosted, HostedRepository(ANONYMOUS, "tool"), "1", index)
    member, other = index.members
    await hosted.pushes.put_manifest(TOOL, "mine", member.document, member.media_type, [])
    await hosted.pushes.put_manifest(TOOL, "all", index.document, index.media_type, [])
    await hosted.pushes.delete_tag(HostedRepository(ANONYMOUS, "tool"), "1")
    for digest in (index.digest, member.digest, other.digest):
        await hosted.pushes.delete_manifest(HostedRepository(ANONYMOUS, "tool"), Digest(digest))
    for tag, image in (("mine", member), ("all", index)):
        assert (await hosted.images.get(ANNS, tag)).descriptor.digest == image.digest
    for digest in (*member.blobs, *other.blobs):
        found = hosted.images.blob(ANNS, Digest(digest))
        assert found is not None and found.repository == TOOL
    with pytest.raises(BlobNotFound):
        await hosted.pushes.put_manifest(HostedRepository(BOB, "else"), "1", member.document, member.media_type, [])


async def test_what_was_pushed_is_not_evicted_and_goes_with_its_last_holder(node: Node, hosted: HostedServices) -> None:
    image = small_image("kept")
    digest = await push_image(hosted, TOOL, "1", image)
    await push_image(hosted, OTHER, "1", image)
    await evict_all(node)
    await node.store.room.evict([digest, *map(Digest, image.blobs)])
    assert all(here(node, image))
    assert hosted.holdings.size == sum(map(len, image.blobs.values())) + len(image.document)
    await hosted.pushes.delete_manifest(TOOL, digest)
    assert all(here(node, image))
    await hosted.pushes.delete_manifest(OTHER, digest)
    assert not any(here(node, image))
    assert hosted.holdings.size == 0
    assert node.tidy


async def test_it_survives_a_restart_and_the_loss_of_the_cache(tmp_path: Path) -> None:
    image = index_of("a", "b")
    async with open_node(tmp_path / "state", 10_000_000) as node:
        digest = await push_image(node.hosted, TOOL, "1", image)
    (tmp_path / "state" / "node.db").unlink()
    for _ in range(2):
        async with open_node(tmp_path / "state", 10_000_000) as node:
            await evict_all(node)
            assert (await node.hosted.images.get(ANNS, "1")).descriptor.digest == digest
            assert all(here(node, image))
            assert node.hosted.holdings.size > 0
            for member in image.members:
                for blob in map(Digest, member.blobs):
                    assert node.hosted.images.blob(ANNS, blob) is not None


async def test_a_blob_that_was_damaged_can_be_pushed_again(node: Node, hosted: HostedServices) -> None:
    digest = await push_blob(hosted, TOOL, b"right" * 100)
    path = next((node.state / "blobs").glob(f"*/*/{digest.hex}"))
    path.write_bytes(b"wrong" * 100)
    found = hosted.images.blob(ANNS, digest)
    assert found is not None
    with pytest.raises(BlobNotFound, match="push it again"):
        await hosted.images.open(found.content)
    assert hosted.images.blob(ANNS, digest) is None
    await push_blob(hosted, TOOL, b"right" * 100)
    found = hosted.images.blob(ANNS, digest)
    assert found is not None
    await hosted.images.open(found.content)
    await evict_all(node)
    assert node.store.size_of(digest) == hosted.holdings.size == 500


# -- uploads ----------------------------------------------------------------------------------------------------------


async def test_pieces_have_to_follow_each_other(node: Node, hosted: HostedServices) -> None:
    session = hosted.uploads.begin(TOOL, 1001)
    await hosted.uploads.receive(session, chunks(b"01234"), Piece(0, 4))
    for piece in (Piece(0, 4), Piece(6, 9), Piece(4, 9)):
        with pytest.raises(ChunkMisplaced):
            await hosted.uploads.receive(session, chunks(b"xxxxx"), piece)
    with pytest.raises(InvalidRequest, match="Content-Range"):
        await hosted.uploads.receive(session, chunks(b"56"), Piece(5, 9))
    assert session.upload.size == 7
    with pytest.raises(InvalidRequest, match="more bytes"):
        await hosted.uploads.receive(session, chunks(b"789x"), Piece(7, 9))
    await hosted.uploads.receive(session, chunks(b"789"))
    digest = Digest.of(b"0123456789", "sha512")
    await hosted.uploads.finish(session, digest)
    assert hosted.images.blob(ANNS, digest) is not None
    with pytest.raises(UploadNotFound):
        hosted.uploads.get(TOOL, session.id)
    assert node.store.reserved == 0


async def test_what_is_not_what_it_says_is_not_kept(node: Node, hosted: HostedServices) -> None:
    session = hosted.uploads.begin(TOOL, 1001)
    await hosted.uploads.receive(session, chunks(b"one thing"))
    with pytest.raises(DigestMismatch, match="nothing is kept"):
        await hosted.uploads.finish(session, Digest.of(b"another"))
    assert hosted.holdings.size == 0
    assert node.tidy


async def test_an_upload_is_its_repositorys(hosted: HostedServices) -> None:
    session = hosted.uploads.begin(TOOL, 1001)
    for other in (OTHER, HostedRepository(BOB, "tool"), HostedRepository(ANONYMOUS, "tool")):
        with pytest.raises(UploadNotFound):
            hosted.uploads.get(other, session.id)
    hosted.uploads.cancel(session)
    with pytest.raises(UploadNotFound):
        hosted.uploads.get(TOOL, session.id)


async def test_two_requests_do_not_write_one_upload(hosted: HostedServices) -> None:
    go_on = asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield b"first"
        await go_on.wait()

    session = hosted.uploads.begin(TOOL, 1001)
    first = asyncio.create_task(hosted.uploads.receive(session, slow()))
    await asyncio.sleep(0)
    with pytest.raises(WaitExpired):
        await hosted.uploads.receive(session, chunks(b"second"))
    with pytest.raises(WaitExpired):
        await hosted.uploads.finish(session, Digest.of(b"first"))
    with pytest.raises(WaitExpired):
        hosted.uploads.cancel(session)
    go_on.set()
    await first
    await hosted.uploads.finish(session, Digest.of(b"first"))


async def test_uploads_that_are_left_alone_are_dropped(
    node: Node, hosted: HostedServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads_module, "IDLE_LIMIT", 0.0)
    session = hosted.uploads.begin(TOOL, 1001)
    await hosted.uploads.receive(session, chunks(b"something"))
    await asyncio.sleep(0.01)
    hosted.expire()
    with pytest.raises(UploadNotFound):
        hosted.uploads.get(TOOL, session.id)
    assert node.tidy


async def test_an_owner_has_so_many_uploads(hosted: HostedServices, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads_module, "CALLER_LIMIT", 2)
    first, _ = hosted.uploads.begin(TOOL, 1001), hosted.uploads.begin(OTHER, 1001)
    with pytest.raises(WaitExpired):
        hosted.uploads.begin(TOOL, 1001)
    with pytest.raises(WaitExpired):  # a login that is made up gives no further ones
        hosted.uploads.begin(HostedRepository(Principal(login_key="a" * 32), "tool"), 1001)
    hosted.uploads.begin(HostedRepository(BOB, "tool"), 1002)
    hosted.uploads.cancel(first)
    hosted.uploads.begin(TOOL, 1001)


# -- limits -----------------------------------------------------------------------------------------------------------


async def test_the_limit_counts_while_bytes_arrive(node: Node, hosted: HostedServices) -> None:
    hosted.configure(msgspec.convert({"hosted": {"limit": 1000}}, Settings))()
    await push_blob(hosted, TOOL, b"a" * 600)
    session = hosted.uploads.begin(TOOL, 1001)
    await hosted.uploads.receive(session, chunks(b"b" * 400))
    with pytest.raises(NoSpace, match=r"hosted\.limit"):
        await hosted.uploads.receive(session, chunks(b"b"))
    with pytest.raises(UploadNotFound):
        hosted.uploads.get(TOOL, session.id)
    assert node.store.reserved == 0
    # What is there already takes no more of it.
    assert await hosted.pushes.mount(OTHER, Digest.of(b"a" * 600), 600, TOOL.source.origin)
    with pytest.raises(NoSpace):
        await push_image(hosted, TOOL, "1", small_image("small"))


async def test_bytes_count_once_while_they_are_put_into_place(
    hosted: HostedServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    hosted.configure(msgspec.convert({"hosted": {"limit": 1000}}, Settings))()
    take_over, others = OwnedContent.take, hosted.uploads.begin(TOOL, 1001)

    async def take(owned: OwnedContent, upload: Upload, digest: Digest, origin: str) -> None:
        await hosted.uploads.receive(others, chunks(b"b" * 400))
        await take_over(owned, upload, digest, origin)

    monkeypatch.setattr(OwnedContent, "take", take)
    await push_blob(hosted, TOOL, b"a" * 600)
    assert (hosted.holdings.size, others.upload.size) == (600, 400)


@pytest.mark.parametrize(("number", "error"), [(errno.ENOSPC, NoSpace), (errno.EROFS, OurError)])
async def test_a_disk_that_takes_nothing_is_said(
    node: Node, hosted: HostedServices, monkeypatch: pytest.MonkeyPatch, number: int, error: type[WaveletError]
) -> None:
    image = small_image("one")
    await push_image(hosted, TOOL, "1", image)

    def begin(owned: OwnedContent) -> Upload:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(OwnedContent, "begin", begin)
    with pytest.raises(error):
        hosted.uploads.begin(TOOL, 1001)
    with pytest.raises(error):
        await hosted.pushes.put_manifest(TOOL, "2", image.document + b" ", image.media_type, [])


async def test_without_a_limit_it_is_half_of_the_stores(hosted: HostedServices) -> None:
    assert hosted.limit == 5_000_000
    with pytest.raises(NoSpace, match=r"hosted\.limit"):
        await push_blob(hosted, TOOL, *[b"x" * 1_000_000] * 6)


# -- manifests --------------------------------------------------------------------------------------------------------


async def test_what_a_manifest_names_has_to_be_there(hosted: HostedServices) -> None:
    image = small_image("whole")
    config, layer = image.blobs.values()
    await push_blob(hosted, TOOL, config)
    await push_blob(hosted, OTHER, layer)
    with pytest.raises(BlobNotFound, match="push that first"):
        await hosted.pushes.put_manifest(TOOL, "1", image.document, image.media_type, [])
    await push_blob(hosted, TOOL, layer)
    wrong = image.document.replace(f'"size": {len(layer)}'.encode(), f'"size": {len(layer) + 1}'.encode())
    with pytest.raises(ManifestInvalid, match="bytes"):
        await hosted.pushes.put_manifest(TOOL, "1", wrong, image.media_type, [])
    with pytest.raises(DigestMismatch):
        await hosted.pushes.put_manifest(TOOL, Digest.of(b"x"), image.document, image.media_type, [])
    put = await hosted.pushes.put_manifest(
        TOOL, Digest.of(image.document, "sha512"), image.document, image.media_type, ["a", "b"]
    )
    assert hosted.images.page_of_tags(ANNS, 1, None) == (["a"], True)
    assert hosted.images.page_of_tags(ANNS, 5, "a") == (["b"], False)
    assert (await hosted.images.get(ANNS, "b")).descriptor.digest == put.digest
    index = index_of("x", "y")
    with pytest.raises(BlobNotFound):
        await hosted.pushes.put_manifest(TOOL, "i", index.document, index.media_type, [])


async def test_referrers_are_listed_before_and_after_their_subject(hosted: HostedServices) -> None:
    image = small_image("signed")
    config = await push_blob(hosted, TOOL, b"{}")
    described = {"mediaType": "application/sig", "digest": config, "size": 2}
    subject = {"mediaType": OCI_MANIFEST, "digest": image.digest, "size": len(image.document)}
    document = json.dumps(
        {"schemaVersion": 2, "config": described, "layers": [], "subject": subject, "annotations": {"by": "ann"}}
    ).encode()
    put = await hosted.pushes.put_manifest(TOOL, Digest.of(document), document, OCI_MANIFEST, [])
    assert put.subject == image.digest
    digest = await push_image(hosted, TOOL, "1", image)
    (found,) = hosted.images.referrers(ANNS, digest)
    assert found["digest"] == put.digest
    assert (found["artifactType"], found["annotations"]) == ("application/sig", {"by": "ann"})
    assert hosted.images.referrers(BOBS, digest) == []


async def test_a_mount_takes_no_bytes_and_only_what_is_there(node: Node, hosted: HostedServices) -> None:
    digest = await push_blob(hosted, TOOL, b"shared")
    assert await hosted.pushes.mount(OTHER, digest, 6, TOOL.source.origin)
    assert not await hosted.pushes.mount(OTHER, Digest.of(b"nowhere"), 7, TOOL.source.origin)
    assert not await hosted.pushes.mount(HostedRepository(BOB, "tool"), digest, 6, "local.invalid/uid-1002/none")
    assert hosted.holdings.size == 6
    await hosted.pushes.delete_blob(TOOL, digest)
    assert hosted.images.blob(ANNS, digest) is None
    assert hosted.images.blob(readers_view(Identity(1001), "team/other"), digest) is not None
    await hosted.pushes.delete_blob(OTHER, digest)
    assert node.store.size_of(digest) == 0


# -- letting go -------------------------------------------------------------------------------------------------------


async def test_a_tag_moves_and_is_deleted(hosted: HostedServices) -> None:
    first, second = small_image("first"), small_image("second")
    before = await push_image(hosted, TOOL, "1", first)
    after = await push_image(hosted, TOOL, "1", second)
    assert (await hosted.images.get(ANNS, "1")).descriptor.digest == after
    assert (await hosted.images.get(ANNS, before)).descriptor.digest == before
    assert await hosted.pushes.delete_tag(TOOL, "1") == after
    with pytest.raises(ImageNotFound):
        await hosted.images.get(ANNS, "1")
    with pytest.raises(ImageNotFound):
        await hosted.pushes.delete_tag(TOOL, "1")
    assert (await hosted.images.get(ANNS, after)).descriptor.digest == after


async def test_what_no_tag_leads_to_goes_after_its_time(
    node: Node, hosted: HostedServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = small_image("old"), index_of("new", "arm")
    await push_image(hosted, TOOL, "1", old)
    await push_image(hosted, TOOL, "1", new)
    lost = await push_blob(hosted, TOOL, b"of a push that was given up")
    await hosted.pushes.expire()
    assert all(here(node, old))
    later = time.time() + UNTAGGED_LIFETIME + UNNAMED_LIFETIME + 10
    monkeypatch.setattr("wavelet.hosted.pushes.time.time", lambda: later)
    await hosted.pushes.expire()
    assert not any(here(node, old))
    assert node.store.size_of(lost) == 0
    assert all(here(node, new))
    assert all(here(node, member) for member in new.members)


async def test_a_crash_between_the_bytes_and_the_rows_leaves_nothing_half(
    node: Node, hosted: HostedServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(_: object) -> int:
        raise NoSpace("the disk is full")

    monkeypatch.setattr(node.pushed, "write", fail)
    with pytest.raises(NoSpace):
        await push_blob(hosted, TOOL, b"bytes")
    assert hosted.images.blob(ANNS, Digest.of(b"bytes")) is None
    assert hosted.holdings.size == 0
    assert node.tidy
