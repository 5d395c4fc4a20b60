"""Manifests, blobs, tags and referrers, as good registries and odd ones answer them."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import zlib
from typing import Any

import pytest

from doubles.registry import Registry
from wavelet.errors import BlobNotFound, ImageNotFound, UpstreamBroken, UpstreamUnreachable
from wavelet.image.image import MANIFEST_LIMIT
from wavelet.image.reference import Digest, Reference, Repository
from wavelet.plan.tokens import NOBODY
from wavelet.upstream import bodies
from wavelet.upstream.client import Upstream
from wavelet.upstream.credential_sources import Granted
from wavelet.upstream.listing import LISTING_LIMIT

MISSING = Digest("sha256:" + "0" * 64)


def blob_of(registry: Registry, data: bytes, path: str = "lab/tool") -> tuple[Repository, Digest]:
    return Repository(registry.host, path), Digest(registry.add_blob(path, data))


async def read(upstream: Upstream, repository: Repository, digest: Digest, offset: int = 0) -> bytes:
    async with upstream.blob(repository, digest, NOBODY, offset) as stream:
        return b"".join([chunk async for chunk in stream.chunks])


async def test_head_and_manifest_agree(registry: Registry, upstream: Upstream, tool: Reference) -> None:
    found = await upstream.head(tool, NOBODY)
    fetched = await upstream.manifest(tool, NOBODY)
    assert (found.digest, found.media_type, found.size) == (fetched.digest, fetched.media_type, len(fetched.data))
    assert Digest.of(fetched.data) == found.digest == found.descriptor.digest
    assert found.granted.public
    assert registry.count("HEAD", "/manifests/1") == registry.count("GET", "/manifests/1") == 1


async def test_accept_names_every_type_and_no_encoding(registry: Registry, upstream: Upstream, tool: Reference) -> None:
    await upstream.manifest(tool, NOBODY)
    headers = registry.seen("GET", "/manifests/")[0].headers
    assert "oci.image.index" in headers["Accept"] and "manifest.list.v2" in headers["Accept"]
    assert headers["Accept-Encoding"] == "identity"
    assert headers["User-Agent"].startswith("wavelet/")


@pytest.mark.parametrize("lack", ["heads", "digest_header"])
async def test_head_falls_back_to_get(registry: Registry, upstream: Upstream, tool: Reference, lack: str) -> None:
    setattr(registry, lack, False)
    fetched = await upstream.manifest(tool, NOBODY)
    found = await upstream.head(tool, NOBODY)
    assert (found.digest, found.size) == (fetched.digest, len(fetched.data))


async def test_head_404_of_a_registry_that_answers_get(registry: Registry, upstream: Upstream, tool: Reference) -> None:
    registry.fault("/manifests/", method="HEAD", status=404)
    assert (await upstream.head(tool, NOBODY)).size > 0


async def test_no_such_image_is_its_own_error(registry: Registry, upstream: Upstream, tool: Reference) -> None:
    with pytest.raises(ImageNotFound, match="has no image"):
        await upstream.head(Reference(tool.repository, "2"), NOBODY)
    with pytest.raises(ImageNotFound):
        await upstream.manifest(tool.at(MISSING), NOBODY)
    with pytest.raises(BlobNotFound):
        await read(upstream, tool.repository, MISSING)
    with pytest.raises(BlobNotFound):
        await upstream.blob_size(tool.repository, MISSING, NOBODY)


async def test_manifest_by_digest_is_verified(registry: Registry, upstream: Upstream, tool: Reference) -> None:
    digest = (await upstream.head(tool, NOBODY)).digest
    registry.fault("/manifests/", corrupt=10, method="GET")
    with pytest.raises(UpstreamBroken, match="another digest"):
        await upstream.manifest(tool.at(digest), NOBODY)
    with pytest.raises(UpstreamBroken, match="another digest"):
        await upstream.manifest(tool, NOBODY)


async def test_head_of_another_digest_is_refused(registry: Registry, upstream: Upstream, tool: Reference) -> None:
    headers = {"Docker-Content-Digest": "sha256:" + "1" * 64, "Content-Type": "application/vnd.oci.image.index.v1+json"}
    registry.fault("/manifests/", status=200, headers=headers)
    with pytest.raises(UpstreamBroken, match="another digest"):
        await upstream.head(tool.at(MISSING), NOBODY)


async def test_sha512(registry: Registry, upstream: Upstream) -> None:
    data = b'{"schemaVersion":2,"manifests":[]}'
    digest = f"sha512:{hashlib.sha512(data).hexdigest()}"
    registry._manifests["lab/x", digest] = (data, "application/vnd.oci.image.index.v1+json")
    reference = Reference(Repository(registry.host, "lab/x"), None, Digest(digest))
    assert (await upstream.manifest(reference, NOBODY)).digest == digest


@pytest.mark.parametrize("body", [b"<html>hello</html>", b"[]", b'{"schemaVersion":1}', b"[" * 100_000])
async def test_what_is_no_manifest(registry: Registry, upstream: Upstream, tool: Reference, body: bytes) -> None:
    registry.digest_header = False
    registry.fault("/manifests/", status=200, body=body)
    with pytest.raises(UpstreamBroken):
        await upstream.manifest(tool, NOBODY)


async def test_manifest_is_bounded(registry: Registry, upstream: Upstream, tool: Reference) -> None:
    registry.fault("/manifests/", status=200, body=b" " * (4 * 1024 * 1024 + 1))
    with pytest.raises(UpstreamBroken, match="too many"):
        await upstream.manifest(tool, NOBODY)


async def test_blob_streams_with_size(registry: Registry, upstream: Upstream) -> None:
    data = bytes(range(256)) * 5000
    repository, digest = blob_of(registry, data)
    async with upstream.blob(repository, digest, NOBODY) as stream:
        assert (stream.offset, stream.size, stream.granted.public) == (0, len(data), True)
        assert b"".join([chunk async for chunk in stream.chunks]) == data
    assert (await upstream.blob_size(repository, digest, NOBODY))[0] == len(data)


async def test_blob_from_an_offset(registry: Registry, upstream: Upstream) -> None:
    repository, digest = blob_of(registry, b"0123456789")
    async with upstream.blob(repository, digest, NOBODY, offset=4) as stream:
        assert (stream.offset, stream.size) == (4, 10)
        assert b"".join([chunk async for chunk in stream.chunks]) == b"456789"


async def test_range_that_is_ignored(registry: Registry, upstream: Upstream) -> None:
    registry.ranges = False
    repository, digest = blob_of(registry, b"0123456789")
    async with upstream.blob(repository, digest, NOBODY, offset=4) as stream:
        assert (stream.offset, stream.size) == (0, 10)


async def test_range_behind_the_end_starts_again(registry: Registry, upstream: Upstream) -> None:
    repository, digest = blob_of(registry, b"0123456789")
    assert await read(upstream, repository, digest, 10) == b"0123456789"


async def test_range_that_was_not_asked_for(registry: Registry, upstream: Upstream) -> None:
    repository, digest = blob_of(registry, b"0123456789")
    registry.fault("/blobs/", status=206, headers={"Content-Range": "bytes 2-9/10"}, body=b"23456789")
    with pytest.raises(UpstreamBroken, match="range"):
        await read(upstream, repository, digest, 4)


@pytest.mark.parametrize(
    "fault", [{"truncate": 100}, {"reset": 100}, {"content_length": 500_000}, {"truncate": 0}], ids=str
)
async def test_broken_body_is_no_end(registry: Registry, upstream: Upstream, fault: dict[str, int]) -> None:
    data = b"x" * 300_000
    repository, digest = blob_of(registry, data)
    registry.fault("/blobs/", times=1, **fault)
    got = bytearray()
    with pytest.raises(UpstreamUnreachable, match=r"broke|ended|closed"):
        async with upstream.blob(repository, digest, NOBODY) as stream:
            async for chunk in stream.chunks:
                got += chunk
    assert got == data[: len(got)]
    # An offset at the end, as after a length that was a lie, starts again.
    assert await read(upstream, repository, digest, len(got)) == (data[len(got) :] or data)


async def test_stall_ends(registry: Registry, upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "STALL_TIMEOUT", 0.2)
    repository, digest = blob_of(registry, b"x" * 1000)
    registry.fault("/blobs/", stall=100)
    with pytest.raises(UpstreamUnreachable, match="no byte"):
        await read(upstream, repository, digest)


async def test_slow_body_is_not_a_stall(
    registry: Registry, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "STALL_TIMEOUT", 0.3)
    repository, digest = blob_of(registry, b"x" * 1000)
    registry.fault("/blobs/", rate=1500)
    assert len(await read(upstream, repository, digest)) == 1000


async def test_reader_that_leaves_gives_its_slot_back(registry: Registry, client) -> None:
    upstream = await client(registries={registry.host: {"concurrency": 1}})
    repository, digest = blob_of(registry, b"x" * 3_000_000)
    for _ in range(3):
        async with upstream.blob(repository, digest, NOBODY) as stream:
            await anext(stream.chunks)
    assert len(await read(upstream, repository, digest)) == 3_000_000


@pytest.mark.parametrize(
    "fault",
    [
        *({"status": status} for status in (400, 401, 403, 405, 500, 501)),
        {"redirect": "loop"},
        {"redirect": "s3://x/y"},
    ],
)
async def test_get_decides_where_head_is_refused(
    registry: Registry, upstream: Upstream, tool: Reference, fault: dict[str, Any]
) -> None:
    """Faults B3 and B4: HEAD is trusted for "yes" and "not found" alone, of manifests and of blobs."""
    registry.fault("/(manifests|blobs)/", method="HEAD", body=b"", **fault)
    found = await upstream.head(tool, NOBODY)
    assert found.granted.public and found.digest == (await upstream.manifest(tool, NOBODY)).digest
    repository, digest = blob_of(registry, b"x" * 1000)
    assert await upstream.blob_size(repository, digest, NOBODY) == (1000, Granted(public=True, by="anonymous"))
    with pytest.raises((ImageNotFound, BlobNotFound)):
        await upstream.head(Reference(tool.repository, "none"), NOBODY)
    with pytest.raises(BlobNotFound):
        await upstream.blob_size(repository, MISSING, NOBODY)


async def test_a_length_of_nothing_is_no_length(registry: Registry, upstream: Upstream, tool: Reference) -> None:
    """Faults B3 and B15: some servers say a length of 0 to every HEAD."""
    registry.fault("/(manifests|blobs)/", method="HEAD", content_length=0)
    assert (await upstream.head(tool, NOBODY)).size == len((await upstream.manifest(tool, NOBODY)).data)
    for data in (b"x" * 1000, b""):
        repository, digest = blob_of(registry, data)
        assert (await upstream.blob_size(repository, digest, NOBODY))[0] == len(data)


@pytest.mark.parametrize("kind", ["manifests", "blobs"])
async def test_head_that_is_sent_to_an_address_for_get_alone(
    registry: Registry, second: Registry, upstream: Upstream, tool: Reference, kind: str
) -> None:
    """Fault B4: an address that is signed for GET refuses HEAD."""
    for what in ("layers", "config"):
        second.add_image("lab/tool", what)
    subject = await upstream.manifest(tool, NOBODY)
    second.add_manifest("lab/tool", subject.data, subject.media_type, "1")
    repository, digest = blob_of(registry, b"x" * 1000)
    second.add_blob("lab/tool", b"x" * 1000)
    registry.fault(f"/{kind}/1$", redirect=f"{second.url}/v2/lab/tool/{kind}/1")
    registry.fault(f"/{kind}/sha256:", redirect=f"{second.url}/v2/lab/tool/{kind}/{digest}")
    second.fault(f"/{kind}/", method="HEAD", status=403, body=b"")
    assert (await upstream.head(tool, NOBODY)).digest == subject.digest
    assert (await upstream.blob_size(repository, digest, NOBODY))[0] == 1000


async def test_tags_of_all_pages(registry: Registry, upstream: Upstream, tool: Reference) -> None:
    for tag in ("2", "3", "4", "5"):
        registry.add_image("lab/tool", tag)
    registry.page = 2
    assert await upstream.tags(tool.repository, NOBODY, None, None) == (["1", "2", "3", "4", "5"], False)
    assert await upstream.tags(tool.repository, NOBODY, 3, None) == (["1", "2", "3"], True)
    assert await upstream.tags(tool.repository, NOBODY, 3, "2") == (["3", "4", "5"], False)
    assert await upstream.tags(tool.repository, NOBODY, 0, None) == ([], False)


async def test_tags_of_a_registry_without_pages(registry: Registry, upstream: Upstream, tool: Reference) -> None:
    for tag in ("2", "3"):
        registry.add_image("lab/tool", tag)
    assert await upstream.tags(tool.repository, NOBODY, 2, None) == (["1", "2"], True)
    assert await upstream.tags(tool.repository, NOBODY, 2, "2") == (["3"], False)


async def test_tags_null_missing_and_nonsense(registry: Registry, upstream: Upstream, tool: Reference) -> None:
    with pytest.raises(ImageNotFound):
        await upstream.tags(Repository(registry.host, "lab/none"), NOBODY, None, None)
    registry.fault("/tags/", status=200, body=b'{"name":"x","tags":null}', times=1)
    assert await upstream.tags(tool.repository, NOBODY, None, None) == ([], False)
    registry.fault("/tags/", status=200, body=b"hello")
    with pytest.raises(UpstreamBroken):
        await upstream.tags(tool.repository, NOBODY, None, None)


async def test_page_that_names_itself_ends(registry: Registry, upstream: Upstream, tool: Reference) -> None:
    link = {"Link": '</v2/lab/tool/tags/list?last=a>; rel="next"'}
    registry.fault("/tags/", status=200, headers=link, body=b'{"tags":["a"]}')
    tags, _ = await upstream.tags(tool.repository, NOBODY, None, None)
    assert tags[:1] == ["a"]
    assert registry.count("GET", "/tags/") < 5


@pytest.mark.parametrize("api", [True, False])
async def test_referrers(registry: Registry, upstream: Upstream, tool: Reference, api: bool) -> None:
    subject = (await upstream.head(tool, NOBODY)).digest
    registry.referrers_api = api
    assert (await upstream.referrers(tool.repository, subject, NOBODY)).descriptors == []
    document = {"schemaVersion": 2, "artifactType": "a/b", "config": None, "layers": [], "subject": {"digest": subject}}
    document["subject"] = {"digest": subject, "size": 1, "mediaType": "x"}
    digest = registry.add_manifest("lab/tool", json.dumps(document).encode())
    if not api:
        entry = {"mediaType": "m", "digest": digest, "size": 1, "artifactType": "a/b"}
        index = json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode()
        registry.add_manifest("lab/tool", index, "application/vnd.oci.image.index.v1+json", subject.replace(":", "-"))
    found = (await upstream.referrers(tool.repository, subject, NOBODY)).descriptors
    assert [(entry["digest"], entry["artifactType"]) for entry in found] == [(digest, "a/b")]


def referrer(registry: Registry, subject: str, path: str = "lab/tool") -> tuple[str, bytes]:
    """Add a manifest with a subject; return its digest, and an index that lists it."""
    document = {"schemaVersion": 2, "artifactType": "a/b", "config": None, "layers": []}
    about = {"subject": {"digest": subject, "size": 1, "mediaType": "x"}}
    digest = registry.add_manifest(path, json.dumps(document | about).encode())
    entry = {"mediaType": "m", "digest": digest, "size": 1, "artifactType": "a/b"}
    return digest, json.dumps({"schemaVersion": 2, "manifests": [None, {"digest": 1}, entry]}).encode()


NO_API: list[dict[str, Any]] = [
    {"status": 200, "body": b"<html>Log in</html>", "headers": {"Content-Type": "text/html"}},
    {"status": 200, "body": b"{}"},
    {"status": 200, "body": b'"x"'},
    {"status": 200, "body": b'{"manifests": {}}'},
    {"status": 400, "body": b""},
    {"status": 401, "body": b""},
    {"status": 403, "body": b""},
    {"status": 405, "body": b""},
    {"redirect": "/v2/"},
    {"redirect": "/login"},
    {"redirect": "loop"},
    {"redirect": "http://127.0.0.1:9/login"},
    {"status": 200, "headers": {"Content-Encoding": "br"}, "body": b"<html>"},
    {"status": 200, "body": b" " * (LISTING_LIMIT + 1)},
]


@pytest.mark.parametrize("fault", NO_API)
async def test_what_is_no_list_of_referrers_is_no_referrers_api(
    registry: Registry, upstream: Upstream, tool: Reference, fault: dict[str, Any]
) -> None:
    """Fault B5: an answer is checked for what it should be, and the fall-back tag is looked at."""
    subject = (await upstream.head(tool, NOBODY)).digest
    registry.fault("/referrers/", **fault)
    found = await upstream.referrers(tool.repository, subject, NOBODY)
    assert (found.descriptors, found.missing) == ([], "")
    digest, index = referrer(registry, subject)
    registry.add_manifest("lab/tool", index, "application/vnd.oci.image.index.v1+json", subject.replace(":", "-"))
    found = await upstream.referrers(tool.repository, subject, NOBODY)
    assert [entry["digest"] for entry in found.descriptors] == [digest], "bad entries are left out alone"


@pytest.mark.parametrize("what", ["index", "image", "page"])
@pytest.mark.parametrize("where", ["/referrers/", "/manifests/sha256-"])
async def test_the_subject_itself_refers_to_nothing(
    registry: Registry, upstream: Upstream, tool: Reference, what: str, where: str
) -> None:
    """Fault B6: some registries answer any name with the image itself."""
    image = registry.add_image("lab/tool", "1")
    registry.add_index("lab/tool", "index", [image])
    subject = await upstream.manifest(Reference(tool.repository, "index" if what == "index" else "1"), NOBODY)
    registry.referrers_api = False
    body = b"<html></html>" if what == "page" else subject.data
    registry.fault(where, status=200, body=body, headers={"Content-Type": subject.media_type})
    found = await upstream.referrers(tool.repository, subject.digest, NOBODY)
    assert (found.descriptors, found.missing) == ([], "")


async def test_referrers_where_a_mirror_is_all_there_is(registry: Registry, client: Any, free_port: int) -> None:
    """Fault B16: a mirror has no referrers API, and the registry is out of reach."""
    away = f"127.0.0.1:{free_port}"
    registry.add_image("lab/tool", "1")
    registry.referrers_api = False
    upstream = await client(registries={away: {"mirrors": [registry.url], "plain_http": True}})
    repository = Repository(away, "lab/tool")
    subject = (await upstream.head(Reference(repository, "1"), NOBODY)).digest
    found = await upstream.referrers(repository, subject, NOBODY)
    assert found.descriptors == []
    assert registry.host in found.missing and "connection refused" in found.missing
    digest, index = referrer(registry, subject)
    registry.add_manifest("lab/tool", index, "application/vnd.oci.image.index.v1+json", subject.replace(":", "-"))
    found = await upstream.referrers(repository, subject, NOBODY)
    assert ([entry["digest"] for entry in found.descriptors], found.missing) == ([digest], "")
    alone = Repository(away, "lab/other")
    await registry.stop()
    with pytest.raises(UpstreamUnreachable):
        await upstream.referrers(alone, subject, NOBODY)


@pytest.mark.parametrize("header", ["gzip", "GZIP", "x-gzip", "identity, gzip", "deflate"])
async def test_manifest_with_an_encoding_that_was_not_asked_for(
    registry: Registry, upstream: Upstream, tool: Reference, header: str
) -> None:
    """Fault B7: it is undone, by tag and by digest, and HEAD's length of the encoded bytes counts for nothing."""
    plain = await upstream.manifest(tool, NOBODY)
    data = zlib.compress(plain.data) if header == "deflate" else gzip.compress(plain.data)
    registry.fault("/manifests/", body=data, headers={"Content-Encoding": header})
    for reference in (tool, tool.at(plain.digest)):
        assert await upstream.manifest(reference, NOBODY) == plain
        found = await upstream.head(reference, NOBODY)
        assert (found.digest, found.size) == (plain.digest, len(plain.data))


@pytest.mark.parametrize(
    ("header", "body", "said"),
    [
        ("gzip", gzip.compress(bytes(2 * MANIFEST_LIMIT), 1), "more than"),
        ("gzip, gzip", gzip.compress(gzip.compress(bytes(2 * MANIFEST_LIMIT), 1)), "more than"),
        ("gzip", gzip.compress(b"{}")[:-9], "breaks off"),
        ("gzip", b"{,", "damaged"),
        ("br", b"\x8b\x00\x80", "encoded by 'br'"),
    ],
    ids=["once", "twice", "cut", "none", "unknown"],
)
async def test_encodings_are_bounded_and_explained(
    registry: Registry, upstream: Upstream, tool: Reference, header: str, body: bytes, said: str
) -> None:
    """Fault B7: what a few bytes inflate to has the same limit as if it had come so."""
    registry.fault("/manifests/", body=body, headers={"Content-Encoding": header})
    with pytest.raises(UpstreamBroken, match=said):
        await upstream.manifest(tool, NOBODY)


@pytest.mark.parametrize("header", ["aws-chunked", "utf-8", "gzip", "deflate", "br"])
async def test_an_encoding_that_is_said_alone(
    registry: Registry, upstream: Upstream, tool: Reference, header: str
) -> None:
    """Fault B7: object stores keep a Content-Encoding of the upload, and the document is plain."""
    plain = await upstream.manifest(tool, NOBODY)
    registry.fault("/manifests/", body=plain.data, headers={"Content-Encoding": header})
    assert (await upstream.manifest(tool, NOBODY)).data == plain.data


async def test_configuration_and_layers_with_an_encoding(registry: Registry, upstream: Upstream) -> None:
    """Fault B7: of blobs, the digest says which bytes are meant."""
    document = b'{"architecture": "amd64"}' * 100
    repository, digest = blob_of(registry, document)
    encoded = {"Content-Encoding": "gzip"}
    registry.fault("/blobs/", body=gzip.compress(document), headers=encoded)
    assert await read(upstream, repository, digest) == document
    assert await upstream.blob_size(repository, digest, NOBODY) == (len(document), Granted(True, "anonymous"))
    for size in (1000, MANIFEST_LIMIT + 1000):
        layer = gzip.compress(os.urandom(size))
        repository, digest = blob_of(registry, layer)
        registry.clear_faults()
        registry.fault("/blobs/", body=layer, headers=encoded)
        assert await read(upstream, repository, digest) == layer


async def test_tags_and_errors_with_an_encoding(registry: Registry, upstream: Upstream, tool: Reference) -> None:
    """Fault B7: lists, and the words of a refusal."""
    encoded = {"Content-Encoding": "gzip"}
    registry.fault("/tags/", body=gzip.compress(b'{"name": "lab/tool", "tags": ["9"]}'), headers=encoded)
    assert await upstream.tags(tool.repository, NOBODY, None, None) == (["9"], False)
    words = gzip.compress(b'{"errors": [{"code": "X", "message": "too many teapots"}]}')
    registry.fault("/manifests/", status=418, body=words, headers=encoded)
    with pytest.raises(UpstreamBroken, match="too many teapots"):
        await upstream.manifest(tool, NOBODY)


@pytest.mark.parametrize("size", [9_000, 20_000, 60_000])
async def test_long_headers_are_taken(
    registry: Registry, second: Registry, upstream: Upstream, tool: Reference, size: int
) -> None:
    """Fault B8: a content security policy, and an address that a storage service has signed."""
    plain = await upstream.manifest(tool, NOBODY)
    many = {f"X-Header-{number}": "x" for number in range(180)}
    registry.fault("/manifests/", body=plain.data, headers={"Content-Security-Policy": "x" * size} | many)
    assert (await upstream.manifest(tool, NOBODY)).data == plain.data
    repository, digest = blob_of(registry, b"bytes")
    second.add_blob("lab/tool", b"bytes")
    registry.fault("/blobs/", redirect=f"{second.url}/v2/lab/tool/blobs/{digest}?signature={'s' * size}")
    assert await read(upstream, repository, digest) == b"bytes"
