"""Manifests that are pushed, and the lists of what refers to them at registries without the API."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from doubles.registry import Registry
from wavelet.errors import ImageNotFound, NotFound, UpstreamBroken, UpstreamBusy
from wavelet.image.image import OCI_INDEX, OCI_MANIFEST, Descriptor
from wavelet.image.reference import Digest, Reference, Repository
from wavelet.plan.tokens import NOBODY
from wavelet.upstream import push_manifests
from wavelet.upstream.client import Upstream
from wavelet.upstream.listing import fallback_tag
from wavelet.upstream.push_referrers import referrer_of, with_referrer

SUBJECT = Digest.of(b"subject")
EMPTY = {"mediaType": "application/vnd.oci.empty.v1+json", "digest": str(Digest.of(b"{}")), "size": 2}


def manifest(**members: Any) -> bytes:
    document = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": EMPTY, "layers": [EMPTY]}
    return json.dumps(document | members).encode()


def signature(number: int) -> bytes:
    subject = {"mediaType": OCI_MANIFEST, "digest": str(SUBJECT), "size": 7}
    return manifest(subject=subject, artifactType="lab/signature", annotations={"number": str(number)})


@pytest.fixture
def repository(registry: Registry) -> Repository:
    return Repository(registry.host, "lab/tool")


async def push(upstream: Upstream, repository: Repository, data: bytes, reference: str | Digest | None = None) -> None:
    await upstream.pusher.push_manifest(repository, reference or Digest.of(data), data, OCI_MANIFEST, NOBODY)


async def listed(upstream: Upstream, repository: Repository) -> list[dict[str, Any]]:
    return list((await upstream.referrers(repository, SUBJECT, NOBODY)).descriptors)


async def test_by_tag_and_by_digest(registry: Registry, upstream: Upstream, repository: Repository) -> None:
    data = manifest()
    pusher, digest = upstream.pusher, Digest.of(data)
    assert await pusher.has_manifest(repository, "1", NOBODY) is None
    await push(upstream, repository, data)
    assert await pusher.has_manifest(repository, digest, NOBODY) == Descriptor(OCI_MANIFEST, digest, len(data))
    assert await pusher.has_manifest(repository, "1", NOBODY) is None
    await push(upstream, repository, data, "1")
    assert await pusher.has_manifest(repository, "1", NOBODY) == Descriptor(OCI_MANIFEST, digest, len(data))
    assert registry.seen("PUT")[0].headers["Content-Type"] == OCI_MANIFEST


async def test_a_registry_that_keeps_something_else(
    registry: Registry, upstream: Upstream, repository: Repository
) -> None:
    registry.fault("/manifests/", method="PUT", status=201, headers={"Docker-Content-Digest": str(SUBJECT)})
    with pytest.raises(UpstreamBroken, match="keeps manifest 1 as something else"):
        await push(upstream, repository, manifest(), "1")


async def test_a_manifest_is_put_again_where_the_registry_is_busy(
    registry: Registry, upstream: Upstream, repository: Repository
) -> None:
    registry.fault("/manifests/", method="PUT", status=503, times=1)
    await push(upstream, repository, manifest(), "1")
    registry.fault("/manifests/", method="PUT", status=503)
    with pytest.raises(UpstreamBusy):
        await push(upstream, repository, manifest(), "1")


async def test_a_digest_that_is_disputed_while_others_push_the_same(
    registry: Registry, upstream: Upstream, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(push_manifests, "DISPUTE_DELAY", 0.01)
    body = b'{"errors":[{"code":"DIGEST_INVALID","message":"provided digest did not match uploaded content"}]}'
    registry.fault("/manifests/", method="PUT", status=400, body=body, times=2)
    await push(upstream, repository, manifest(), "1")
    disputed = registry.fault("/manifests/", method="PUT", status=400, body=body)
    with pytest.raises(UpstreamBroken, match="disputes the digest of manifest 1"):
        await push(upstream, repository, manifest(), "1")
    assert disputed.hits == push_manifests.DISPUTES


async def test_a_mirror_is_never_asked(registry: Registry, second: Registry, client: Any) -> None:
    second.add_manifest("lab/tool", manifest(), tag="1")
    upstream = await client(registries={registry.host: {"mirrors": [second.url]}}, mirrors_only=True)
    repository = Repository(registry.host, "lab/tool")
    assert await upstream.pusher.has_manifest(repository, "1", NOBODY) is None
    await push(upstream, repository, manifest(), "1")
    assert registry.count("PUT") == 1 and second.count() == 0


async def test_a_registry_with_the_api_lists_by_itself(
    registry: Registry, upstream: Upstream, repository: Repository
) -> None:
    await push(upstream, repository, signature(1))
    assert registry.count("PUT") == 1
    assert [each["digest"] for each in await listed(upstream, repository)] == [Digest.of(signature(1))]


class TestFallbackTag:
    @pytest.fixture(autouse=True)
    def without_api(self, registry: Registry) -> None:
        registry.referrers_api = registry.uploads.subjects = False

    async def test_a_list_is_begun_and_added_to(
        self, registry: Registry, upstream: Upstream, repository: Repository
    ) -> None:
        await push(upstream, repository, signature(1))
        await push(upstream, repository, signature(2))
        entries = await listed(upstream, repository)
        assert [each["digest"] for each in entries] == [Digest.of(signature(number)) for number in (1, 2)]
        assert entries[0] == {
            "mediaType": OCI_MANIFEST,
            "digest": Digest.of(signature(1)),
            "size": len(signature(1)),
            "artifactType": "lab/signature",
            "annotations": {"number": "1"},
        }
        puts = registry.count("PUT", f"/manifests/{fallback_tag(SUBJECT)}")
        await push(upstream, repository, signature(2))
        assert registry.count("PUT", f"/manifests/{fallback_tag(SUBJECT)}") == puts == 2

    async def test_two_at_one_time_are_both_listed(
        self, registry: Registry, upstream: Upstream, repository: Repository
    ) -> None:
        registry.fault(f"/manifests/{fallback_tag(SUBJECT)}", method="GET", delay=0.02)
        await asyncio.gather(*(push(upstream, repository, signature(number)) for number in range(5)))
        assert len(await listed(upstream, repository)) == 5

    async def test_two_nodes_are_both_listed(self, registry: Registry, client: Any, repository: Repository) -> None:
        nodes = [await client(), await client()]
        registry.fault(f"/manifests/{fallback_tag(SUBJECT)}", method="GET", delay=0.02)
        await asyncio.gather(*(push(node, repository, signature(number)) for number, node in enumerate(nodes)))
        assert len(await listed(nodes[0], repository)) == 2

    async def test_one_that_is_always_replaced_fails(
        self, registry: Registry, upstream: Upstream, repository: Repository
    ) -> None:
        tag = fallback_tag(SUBJECT)
        registry.fault(f"/manifests/{tag}", method="GET", status=404)
        with pytest.raises(Exception, match=f"others change the tag {tag} of .* all the time; ask again"):
            await push(upstream, repository, signature(1))
        assert registry.count("PUT", f"/manifests/{tag}") == push_manifests.LIST_ATTEMPTS

    async def test_what_is_no_list_stays(self, registry: Registry, upstream: Upstream, repository: Repository) -> None:
        tag = fallback_tag(SUBJECT)
        other = registry.add_manifest("lab/tool", manifest(), tag=tag)
        with pytest.raises(UpstreamBroken, match=f"the tag {tag} of .* is no list of referrers .*; remove it"):
            await push(upstream, repository, signature(1))
        assert (await upstream.head(Reference(repository, tag), NOBODY)).digest == other

    async def test_a_manifest_without_a_subject_is_not_listed(
        self, registry: Registry, upstream: Upstream, repository: Repository
    ) -> None:
        await push(upstream, repository, manifest())
        assert registry.count("PUT") == 1 and registry.count("GET", "/manifests/") == 0


def test_what_others_have_listed_stays() -> None:
    referrer = referrer_of(signature(1), OCI_MANIFEST, Digest.of(signature(1)))
    assert referrer is not None and referrer.subject == SUBJECT
    entries: list[Any] = [{"digest": "x", "of": "others"}, 7]
    held = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries, "annotations": {"a": "b"}}
    added = with_referrer(json.dumps(held).encode(), referrer)
    assert added is not None
    assert json.loads(added) == held | {"manifests": [*entries, referrer.descriptor]}
    assert with_referrer(added, referrer) is None
    for unread in (None, b"<html>", b'{"manifests":null}'):
        begun = with_referrer(unread, referrer)
        assert begun is not None and json.loads(begun)["manifests"] == [referrer.descriptor]


def test_a_referrer_is_listed_by_its_configurations_type_where_it_has_no_other() -> None:
    subject = {"mediaType": OCI_MANIFEST, "digest": str(SUBJECT), "size": 7}
    data = manifest(subject=subject)
    found = referrer_of(data, OCI_MANIFEST, Digest.of(data))
    assert found is not None and found.descriptor["artifactType"] == EMPTY["mediaType"]
    for other in (b"no JSON", b"[]", manifest(subject={"digest": "md5:1"}), manifest(subject=None), manifest()):
        assert referrer_of(other, OCI_MANIFEST, SUBJECT) is None


@pytest.mark.parametrize(
    ("status", "code", "error", "words"),
    [
        (404, "NAME_UNKNOWN", NotFound, r"has no repository lab/tool \(name unknown\); make it there first"),
        (405, "UNSUPPORTED", UpstreamBroken, "takes no pushes: it answers 405 to manifest 1"),
        (400, "MANIFEST_INVALID", UpstreamBroken, r"does not take manifest 1: it answers 400 \(manifest invalid\)"),
        (412, "", UpstreamBroken, "does not take manifest 1: it answers 412"),
    ],
)
async def test_refusals(
    registry: Registry, upstream: Upstream, repository: Repository, status: int, code: str, error: Any, words: str
) -> None:
    body = json.dumps({"errors": [{"code": code, "message": code.replace("_", " ").lower()}]}).encode()
    registry.fault("/manifests/", method="PUT", status=status, body=body)
    with pytest.raises(error, match=words) as raised:
        await push(upstream, repository, manifest(), "1")
    assert not isinstance(raised.value, ImageNotFound)
