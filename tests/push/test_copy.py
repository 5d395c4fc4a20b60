"""The copying of images: what is sent, in which order, and what a target has when it is broken off anywhere."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import pytest

from wavelet.errors import BlobNotFound, UpstreamBroken, UpstreamUnreachable
from wavelet.image.image import DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_LAYER, OCI_MANIFEST, Descriptor
from wavelet.image.reference import Digest, Repository
from wavelet.push import survey
from wavelet.push.copy import CopyResult, copy, plan
from wavelet.push.progress import CopyProgress
from wavelet.upstream.pusher import PushSource


class Images:
    """A source in memory."""

    at_once = 3

    def __init__(self) -> None:
        self.contents: dict[Digest, bytes] = {}
        self.tags: dict[str, Descriptor] = {}
        self.listed: dict[Digest, list[Descriptor]] = {}

    def of(self, root: Descriptor) -> Images:
        """Have it copied from this document on."""
        self.own, self.digest = root, root.digest
        return self

    async def root(self) -> Descriptor:
        return self.own

    def add(self, data: bytes, media_type: str = OCI_LAYER, **more: Any) -> Descriptor:
        self.contents[Digest.of(data)] = data
        return Descriptor(media_type, Digest.of(data), len(data), **more)

    def manifest(self, *layers: Descriptor, media_type: str = OCI_MANIFEST, **members: Any) -> Descriptor:
        document = {
            "schemaVersion": 2,
            "mediaType": media_type,
            "config": self.add(b"{}", "application/vnd.oci.image.config.v1+json").as_json(),
            "layers": [each.as_json() | ({"urls": [*each.urls]} if each.urls else {}) for each in layers],
        }
        return self.add(json.dumps(document | members).encode(), media_type)

    def index(self, *members: Descriptor, media_type: str = OCI_INDEX) -> Descriptor:
        document = {"schemaVersion": 2, "mediaType": media_type, "manifests": [each.as_json() for each in members]}
        return self.add(json.dumps(document).encode(), media_type)

    def refer(self, subject: Descriptor, *layers: Descriptor) -> Descriptor:
        found = self.manifest(*layers, subject=subject.as_json())
        self.listed.setdefault(subject.digest, []).append(found)
        return found

    async def document(self, descriptor: Descriptor) -> bytes:
        if descriptor.digest not in self.contents:
            raise BlobNotFound(f"no {descriptor.digest}")
        return self.contents[descriptor.digest]

    async def referrers(self, subject: Descriptor) -> Sequence[Descriptor]:
        return self.listed.get(subject.digest, [])

    async def tagged(self, tag: str) -> Descriptor | None:
        return self.tags.get(tag)

    def mounts(self, descriptor: Descriptor) -> Sequence[Repository]:
        return ()

    async def was_damaged(self, descriptor: Descriptor) -> bool:
        return False

    def blob(self, descriptor: Descriptor) -> PushSource:
        @contextlib.asynccontextmanager
        async def open_at(offset: int) -> AsyncIterator[AsyncIterator[bytes]]:
            async def pieces() -> AsyncIterator[bytes]:
                yield self.contents[descriptor.digest][offset:]

            yield pieces()

        return PushSource(descriptor, open_at)


class Place:
    """A target in memory: as registries do, it takes a document only after what that names."""

    def __init__(self, tag: str = "1") -> None:
        self.tag = tag
        self.contents: dict[Digest, bytes] = {}
        self.names: dict[str, Digest] = {}
        self.asked = 0
        self.order: list[str] = []
        self.sending = self.most_sending = 0
        self.fails_after = 10**9

    def name_of(self, root: Digest) -> str:
        return self.tag or root

    def _step(self) -> None:
        self.asked += 1
        if self.asked > self.fails_after:
            raise UpstreamUnreachable("the target has gone")

    async def answers(self, root: Digest) -> bool:
        self._step()
        return self.names.get(self.name_of(root)) == root

    async def has_document(self, digest: Digest) -> bool:
        self._step()
        return self.names.get(digest) == digest

    async def has_blob(self, blob: Descriptor) -> bool:
        self._step()
        return blob.digest in self.contents

    async def put_blob(
        self, source: PushSource, mount_from: Sequence[Repository], on_bytes: Callable[[int], None]
    ) -> bool:
        self._step()
        digest = source.descriptor.digest
        if digest in self.contents:
            return False
        self.sending += 1
        self.most_sending = max(self.most_sending, self.sending)
        await asyncio.sleep(0)
        async with source.open(0) as pieces:
            data = b"".join([piece async for piece in pieces])
        on_bytes(len(data))
        self.sending -= 1
        assert Digest.of(data) == digest
        self.contents[digest] = data
        self.order.append(digest)
        return True

    async def put_document(self, name: str, document: Descriptor, data: bytes) -> None:
        self._step()
        view = json.loads(data)
        for each in [*view.get("manifests", []), *view.get("layers", [])]:
            assert each["digest"] in self.contents or each.get("urls"), "a registry refuses this"
        self.contents[document.digest] = data
        self.names[document.digest] = document.digest
        self.names[name] = document.digest
        self.order.append(name)


def a_release(images: Images) -> Descriptor:
    """An index within an index, of three images that share a layer, with a signature, and with what refers to that."""
    base = images.add(b"base" * 100)
    made = [images.manifest(base, images.add(f"layer {n}".encode() * 50)) for n in range(3)]
    inner = images.index(*made[:2])
    root = images.index(inner, made[2], media_type=OCI_INDEX)
    signature = images.refer(root, images.add(b"signature"))
    images.refer(made[0], images.add(b"bill of materials"))
    images.refer(signature, images.add(b"countersignature"))
    images.tags[survey.cosign_tag(root.digest, "sig")] = images.manifest(images.add(b"cosign's"))
    images.tags[survey.cosign_tag(made[1].digest, "att")] = images.manifest(images.add(b"attestation"))
    return root


async def test_everything_is_copied_and_the_name_is_last() -> None:
    images, place = Images(), Place()
    root = a_release(images)
    seen: list[CopyProgress] = []
    result = await copy(images.of(root), place, seen.append)
    assert place.contents == images.contents
    assert place.order[-1] == "1" and place.names["1"] == root.digest
    assert {name: place.names[name] for name in images.tags} == {n: d.digest for n, d in images.tags.items()}
    blobs = [data for digest, data in images.contents.items() if digest not in place.names]
    assert result == CopyResult(root.digest, len(blobs), sum(map(len, blobs)), len(images.contents) - len(blobs))
    assert seen[0].bytes_needed == result.bytes and seen[0].blobs == len(blobs), "all is known before the first byte"
    assert seen[-1] == CopyProgress(len(blobs), len(blobs), result.bytes, result.bytes)
    assert len(place.order) == len(set(place.order)), "each once"
    assert 1 < place.most_sending <= images.at_once


async def test_asked_again_one_question_answers() -> None:
    images, place = Images(), Place()
    root = a_release(images)
    await copy(images.of(root), place)
    place.asked = 0
    assert await copy(images.of(root), place) == CopyResult(root.digest)
    assert place.asked == 1


async def test_wherever_it_is_broken_off_there_is_no_half_image_under_the_name() -> None:
    images = Images()
    root = a_release(images)
    whole = Place()
    await copy(images.of(root), whole)
    for step in range(whole.asked):
        place = Place()
        place.fails_after = step
        with pytest.raises(UpstreamUnreachable):
            await copy(images.of(root), place)
        assert "1" not in place.names
        there = set(place.contents)
        place.fails_after = 10**9
        place.order.clear()
        await copy(images.of(root), place)
        assert place.contents == images.contents and place.names == whole.names
        assert not there & {name for name in place.order if name not in place.names}, "no blob is sent twice"


async def test_a_plan_says_what_would_be_sent() -> None:
    images, place = Images(), Place()
    root = a_release(images)
    before = await plan(images.of(root), place)
    assert not place.contents
    await place.put_blob(images.blob(images.add(b"base" * 100)), (), lambda _: None)
    planned = await plan(images.of(root), place)
    assert (planned.blobs, planned.bytes) == (before.blobs - 1, before.bytes - 400)
    assert await copy(images.of(root), place) == planned
    assert await plan(images.of(root), place) == CopyResult(root.digest)


async def test_what_is_there_is_not_counted_as_needed() -> None:
    images, place, seen = Images(), Place(), list[CopyProgress]()
    there, missing = images.add(b"there" * 10), images.add(b"missing")
    await place.put_blob(images.blob(there), (), lambda _: None)
    await copy(images.of(images.manifest(there, missing)), place, seen.append)
    assert (seen[0].bytes_needed, seen[-1].bytes_needed) == (59, 9)
    assert seen[-1].bytes_done == 9 and seen[-1].blobs_done == 3


async def test_an_image_under_another_tag_sends_no_blob() -> None:
    images, place = Images(), Place()
    root = images.manifest(images.add(b"layer"))
    await copy(images.of(root), place)
    place.tag = "2"
    assert await copy(images.of(root), place) == CopyResult(root.digest, 0, 0, 1)
    assert place.names["2"] == root.digest


async def test_without_a_tag_the_digest_is_the_name() -> None:
    images, place = Images(), Place(tag="")
    root = a_release(images)
    await copy(images.of(root), place)
    assert place.order[-1] == root.digest


async def test_layers_with_urls_are_left_where_they_are() -> None:
    """As skopeo and crane do: registries do not look for them."""
    images, place = Images(), Place()
    foreign = Descriptor(
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        Digest.of(b"licensed"),
        8,
        ("https://elsewhere.example/layer",),
    )
    root = images.manifest(foreign, images.add(b"own"), media_type=DOCKER_MANIFEST)
    result = await copy(images.of(images.index(root, media_type=DOCKER_LIST)), place)
    assert result.blobs == 2 and foreign.digest not in place.contents


async def test_an_index_may_name_what_is_no_document() -> None:
    images, place = Images(), Place()
    odd = images.add(b"a blob", "application/x-something")
    result = await copy(images.of(images.index(images.manifest(), odd)), place)
    assert odd.digest in place.contents and result.blobs == 2


async def test_cosigns_tags_may_lead_back_to_the_image() -> None:
    images, place = Images(), Place()
    root = images.manifest(images.add(b"layer"))
    images.tags[survey.cosign_tag(root.digest, "sig")] = root
    images.listed[root.digest] = [root]
    await copy(images.of(root), place)
    assert place.names[survey.cosign_tag(root.digest, "sig")] == root.digest == place.names["1"]


async def test_a_source_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    images, place = Images(), Place()
    root = images.manifest()
    for _ in range(survey.DEPTH_LIMIT + 1):
        root = images.index(root)
    with pytest.raises(UpstreamBroken, match="no image"):
        await copy(images.of(root), place)
    monkeypatch.setattr(survey, "DOCUMENTS_LIMIT", 20)
    wide = images.index(*(images.manifest(images.add(bytes([n]))) for n in range(30)))
    with pytest.raises(UpstreamBroken, match="more than 20 manifests"):
        await copy(images.of(wide), place)
    monkeypatch.setattr(survey, "NAMED_LIMIT", 20)
    full = images.index(*(images.manifest(*(images.add(bytes([n, m])) for m in range(5))) for n in range(4)))
    with pytest.raises(UpstreamBroken, match="more than 20 blobs"):
        await copy(images.of(full), place)
    assert not place.contents


async def test_what_is_listed_as_a_referrer_and_gone_is_left_out() -> None:
    images, place = Images(), Place()
    root = images.manifest(images.add(b"layer"))
    gone, signature = images.refer(root, images.add(b"gone")), images.refer(root, images.add(b"signature"))
    del images.contents[gone.digest]
    await copy(images.of(root), place)
    assert signature.digest in place.contents and gone.digest not in place.contents
    again = Place()
    index = images.index(root, gone)
    with pytest.raises(BlobNotFound):
        await copy(images.of(index), again)
    assert not again.contents


async def test_an_index_of_many_members_holds_nobody_up() -> None:
    """One of 5,000 took 6 s, in which nothing else went on, and one of 4 MiB names 30,000."""
    images, place = Images(), Place()
    ends = [Descriptor(OCI_MANIFEST, Digest.of(str(number).encode()), 1) for number in range(5000)]
    began = time.monotonic()
    with pytest.raises(BlobNotFound):
        await copy(images.of(images.index(*ends)), place)
    assert time.monotonic() - began < 3.0


async def test_what_the_source_lacks_fails_before_a_byte_is_sent() -> None:
    images, place = Images(), Place()
    child = images.manifest(images.add(b"layer"))
    root = images.index(images.manifest(), child)
    del images.contents[child.digest]
    with pytest.raises(BlobNotFound):
        await copy(images.of(root), place)
    assert not place.contents
