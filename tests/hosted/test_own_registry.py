"""Images that are made of what was pushed: pinned per owner, read out of the store, asked for without a connection."""

from __future__ import annotations

import pytest

from lab.hosted import ANN, index_of, push_blob, push_image, small_image
from lab.node import AMD64, Node
from wavelet.config import Settings
from wavelet.errors import AccessRefused, BlobNotFound, ImageNotFound
from wavelet.hosted.model import HostedRepository
from wavelet.hosted.own_registry import own_authorities
from wavelet.image.image import FromUpstream
from wavelet.image.reference import Digest, Platform, Reference
from wavelet.kinds.registry_image.node import RegistryImage
from wavelet.plan.hosted import owned, shown, unowned
from wavelet.plan.tokens import ANONYMOUS, NOBODY, Identity

TOOL = HostedRepository(ANN, "tool")
AS_ANN, AS_BOB = Identity(1001), Identity(1002)
NAMED = Reference.parse("127.0.0.1:9090/local/tool:1")


async def test_a_name_is_pinned_to_its_owners_repository(node: Node) -> None:
    digest = await push_image(node.hosted, TOOL, "1", small_image("one"))
    for asked in (NAMED, NAMED.at(digest), Reference(unowned("tool"), "1"), Reference(owned(ANN, "tool"), "1")):
        pinned = await node.resolver.pinned(RegistryImage(asked, AMD64), AS_ANN)
        assert pinned.plan == RegistryImage(Reference(owned(ANN, "tool"), digest=digest), AMD64)
        assert not pinned.public
        for other in (AS_BOB, NOBODY):
            with pytest.raises(ImageNotFound, match="not by whoever asks"):
                await node.resolver.pinned(RegistryImage(asked, AMD64), other)
    everybodys = await push_image(node.hosted, HostedRepository(ANONYMOUS, "tool"), "1", small_image("all"))
    pinned = await node.resolver.pinned(RegistryImage(NAMED, AMD64), AS_BOB)
    assert (pinned.plan.digest, pinned.public) == (everybodys, True)


async def test_a_tag_is_looked_up_each_time(node: Node) -> None:
    for text in ("first", "second"):
        digest = await push_image(node.hosted, TOOL, "1", small_image(text))
        assert (await node.resolver.pinned(RegistryImage(NAMED), AS_ANN)).plan.digest == digest


async def test_what_is_made_of_it_is_read_out_of_the_store(node: Node) -> None:
    index = index_of("amd64", "arm64")
    await push_image(node.hosted, TOOL, "1", index)
    before = node.store.size
    _, image = await node.resolver.realise(RegistryImage(NAMED, Platform.parse("linux/arm64")), AS_ANN)
    assert image.descriptor.digest == index.members[1].digest
    await node.resolver.may_read(image, AS_ANN)
    for other in (AS_BOB, NOBODY):
        with pytest.raises(AccessRefused):
            await node.resolver.may_read(image, other)
    for content in image.contents:
        assert content.source == FromUpstream(owned(ANN, "tool"))
        await node.resolver.open(content, AS_ANN)
    assert node.store.size == before


async def test_what_was_deleted_is_not_there(node: Node) -> None:
    digest = await push_image(node.hosted, TOOL, "1", small_image("gone"))
    _, image = await node.resolver.realise(RegistryImage(NAMED), AS_ANN)
    await node.hosted.pushes.delete_manifest(TOOL, digest)
    for content in image.contents:
        with pytest.raises((ImageNotFound, BlobNotFound)):
            await node.resolver.read(content, AS_ANN)


async def test_it_is_asked_as_any_registry_is(node: Node) -> None:
    image = small_image("asked")
    digest = await push_image(node.hosted, TOOL, "1", image)
    blob = await push_blob(node.hosted, TOOL, b"0123456789")
    upstream = node.upstream
    for repository in (NAMED.repository, owned(ANN, "tool")):
        assert (await upstream.head(Reference(repository, "1"), AS_ANN)).digest == digest
        assert (await upstream.manifest(Reference(repository, "1"), AS_ANN)).data == image.document
        size, granted = await upstream.blob_size(repository, blob, AS_ANN)
        assert (size, granted.public) == (10, False)
        async with upstream.blob(repository, blob, AS_ANN, 4) as stream:
            assert (stream.offset, stream.size) == (4, 10)
            assert b"".join([chunk async for chunk in stream.chunks]) == b"456789"
        assert await upstream.tags(repository, AS_ANN, None, None) == (["1"], False)
        assert (await upstream.referrers(repository, digest, AS_ANN)).descriptors == []
        with pytest.raises(BlobNotFound):
            await upstream.blob_size(repository, blob, AS_BOB)
        with pytest.raises(ImageNotFound):
            await upstream.head(Reference(repository, "1"), NOBODY)


def test_what_names_this_daemon() -> None:
    assert own_authorities(Settings(listen="127.0.0.1:8000")) == {"127.0.0.1:8000", "localhost:8000"}
    assert own_authorities(Settings(listen="10.1.2.3:8000", authority="node:8000", allow_remote=True)) == {
        "10.1.2.3:8000",
        "node:8000",
    }
    assert not own_authorities(Settings(reserved_names=False))


def test_how_it_is_shown() -> None:
    digest = Digest.of(b"x")
    assert shown(Reference(owned(ANN, "team/tool"), digest=digest)) == f"local/team/tool@{digest}"
    assert shown(Reference(unowned("tool"), "1")) == "local/tool:1"
    assert shown(NAMED) == str(NAMED)
