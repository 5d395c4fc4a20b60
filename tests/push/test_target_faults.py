"""Copies to a registry that misbehaves: nothing of the image is under its name, and the next one sends the rest."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import pytest

from doubles.registry import Registry as Double
from lab import images
from wavelet.errors import AccessRefused, TooLarge, UpstreamBroken, UpstreamBusy, UpstreamError, WaveletError
from wavelet.image.reference import Digest, Reference, Repository
from wavelet.plan.tokens import NOBODY
from wavelet.push.copy import CopyResult
from wavelet.push.mirror import Mirror
from wavelet.push.progress import CopyProgress
from wavelet.upstream import push_plan, push_uploads

LAYERS = [images.random_layer(1, seed).blob for seed in (11, 12, 13)]
PATH = "mirrored/tool"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(push_uploads, "UPLOADS", replace(push_uploads.UPLOADS, attempts=2, first_delay=0.01))


@pytest.fixture
async def target() -> AsyncIterator[Double]:
    async with Double(host="127.0.0.2") as running:
        yield running


@pytest.fixture
def image(double: Double) -> dict[str, Any]:
    return double.add_image("lab/tool", "1", LAYERS)


@pytest.fixture
def copied(mirror: Mirror, double: Double, target: Double, image: dict[str, Any]) -> Callable[[], Any]:
    """Return a function that copies the image, and returns its result and the last of its progress."""

    async def copy() -> tuple[CopyResult, CopyProgress]:
        seen = [CopyProgress()]
        source = Reference(Repository(double.host, "lab/tool"), digest=Digest(image["manifest"]))
        result = await mirror.copy(source, Reference(Repository(target.host, PATH), "1"), NOBODY, seen.append)
        return result, seen[-1]

    return copy


def blobs(target: Double) -> set[str]:
    return {digest for path, digest in target._blobs if path == PATH}


@pytest.mark.parametrize(
    ("pattern", "fault", "error"),
    [
        ("/blobs/uploads/", {"method": "POST", "status": 401, "skip": 1}, AccessRefused),
        ("/blobs/uploads/", {"method": "POST", "status": 403, "skip": 2}, AccessRefused),
        ("/blobs/uploads/", {"method": "PUT", "status": 413, "skip": 1}, TooLarge),
        ("/blobs/uploads/", {"status": 429, "skip": 3}, UpstreamBusy),
        ("/blobs/uploads/", {"method": "PUT", "status": 503, "reads": 100_000, "skip": 1}, UpstreamBusy),
        ("/blobs/uploads/", {"method": "PUT", "status": 507, "skip": 2}, UpstreamError),
        ("/blobs/uploads/.", {"status": 400, "body": b'{"errors":[{"code":"DIGEST_INVALID"}]}'}, UpstreamBroken),
        ("/manifests/", {"method": "PUT", "status": 500}, UpstreamBusy),
        ("/manifests/", {"method": "PUT", "status": 400}, UpstreamBroken),
    ],
)
async def test_what_a_target_refuses_leaves_nothing_under_the_name(
    copied: Callable[[], Any],
    target: Double,
    image: dict[str, Any],
    pattern: str,
    fault: dict[str, Any],
    error: type[WaveletError],
) -> None:
    begun = target.fault(pattern, **fault)
    with pytest.raises(error, match=target.host):
        await copied()
    begun.lift()
    await target.stop()  # a body that was sent before its upload was given up is still taken, until nobody listens
    there, whole = blobs(target), {*image["layers"], image["config"]}
    assert (PATH, "1") not in target._tags or there == whole, "an answer may be lost"
    await target.start()
    result, progress = await copied()
    assert target._tags[PATH, "1"] == image["manifest"] == result.digest and blobs(target) == whole
    assert result.blobs == 4 - len(there), "what was there is not sent again"
    assert progress.bytes_done == progress.bytes_needed == result.bytes


async def test_a_blob_that_comes_in_chunks_is_verified_as_one(
    copied: Callable[[], Any], double: Double, target: Double, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(push_plan, "WHOLE_LIMIT", 100_000)
    monkeypatch.setattr(push_plan, "CHUNK_SIZE", 300_000)
    result, _ = await copied()
    assert target.count("PATCH") > 9 and result.blobs == 4
    target.remove(PATH, "1")
    for digest in (*blobs(target), result.digest):
        target.remove(PATH, digest)
    double.fault("/blobs/", method="GET", corrupt=900, skip=6)
    with pytest.raises(UpstreamBroken, match=r"lab/tool: .* has the digest"):
        await copied()
    assert (PATH, "1") not in target._tags


async def test_an_upload_that_breaks_off_is_gone_on_with(copied: Callable[[], Any], target: Double) -> None:
    target.fault("/blobs/uploads/", method="PUT", reset=-1, reads=400_000, times=2)
    result, progress = await copied()
    assert result.blobs == 4 and progress.bytes_done == result.bytes, "what was sent twice counts once"
    assert target.uploads.received < result.bytes + 900_000


async def test_a_target_with_the_api_lists_referrers_itself(
    copied: Callable[[], Any], double: Double, target: Double, image: dict[str, Any]
) -> None:
    subject = {"mediaType": image["media_type"], "digest": image["manifest"], "size": image["size"]}
    members = {"artifactType": "application/x-bill", "subject": subject, "layers": []}
    empty = {"mediaType": "application/vnd.oci.empty.v1+json", "digest": double.add_blob("lab/tool", b"{}"), "size": 2}
    bill = double.add_manifest("lab/tool", json.dumps({"schemaVersion": 2, "config": empty} | members).encode())
    await copied()
    assert (PATH, bill) in target._manifests
    assert not [tag for path, tag in target._tags if path == PATH and tag != "1"], "no list of its own"
