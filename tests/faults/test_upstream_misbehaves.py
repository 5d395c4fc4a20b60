"""Black box: what comes out of the daemon when the registry does not do its part."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pulls import Broken, Client, near, noise, sha256, verify

from doubles.registry import Registry
from lab.daemon import Daemon

SIZE = 700_000
BLOBS = "/blobs/"


@pytest.mark.parametrize("fault", [{"truncate": 300_000}, {"reset": 300_000}, {"truncate": 0}, {"reset": -1}])
async def test_a_broken_transfer_is_taken_up_again(registry: Registry, client: Client, fault: dict[str, int]) -> None:
    layer = noise(SIZE)
    image = registry.add_image("lab/broken", "1", [layer])
    broken = registry.fault(image["layers"][0], method="GET", times=2, **fault)
    await client.pull(near(registry, "lab/broken"), "1")
    assert broken.hits == 2
    asked = registry.seen("GET", image["layers"][0])
    assert len(asked) == 3
    if fault.get("truncate") or fault.get("reset", 0) > 0:
        assert asked[1].headers["Range"].startswith("bytes=3")


async def test_a_registry_without_ranges_is_read_again_from_the_start(registry: Registry, client: Client) -> None:
    registry.ranges = False
    image = registry.add_image("lab/noranges", "1", [noise(SIZE)])
    registry.fault(image["layers"][0], method="GET", times=1, reset=400_000)
    await client.pull(near(registry, "lab/noranges"), "1")


WRONG: dict[str, dict[str, Any]] = {
    "the-beginning": {"corrupt": 5},
    "the-end": {"corrupt": SIZE - 5},
    "a-length-that-is-a-lie": {"content_length": SIZE + 10_000},
    "other-bytes": {"body": noise(SIZE)},
    "more-bytes": {"body": noise(SIZE + 50)},
    "no-bytes": {"body": b""},
    "a-cut-each-time": {"truncate": 0},
}


@pytest.mark.parametrize("kind", WRONG)
async def test_wrong_bytes_never_look_whole_and_are_not_kept(registry: Registry, client: Client, kind: str) -> None:
    repository = f"lab/{kind}"
    name = near(registry, repository)
    layer = noise(SIZE)
    digest = registry.add_image(repository, "1", [layer])["layers"][0]
    assert (await client.manifest(name, "1")).status == 200
    wrong = registry.fault(digest, method="GET", **WRONG[kind])
    answers = await asyncio.gather(*(client.blob(name, digest) for _ in range(5)), return_exceptions=True)
    for answer in answers:
        if not isinstance(answer, Broken):
            assert not isinstance(answer, BaseException)
            assert answer.status in (502, 503)
            assert answer.json()["errors"][0]["detail"]["fault"] == "upstream"
    assert wrong.hits
    registry.clear_faults()
    verify(await client.blob(name, digest), digest)


@pytest.mark.parametrize(
    ("fault", "status", "says"),
    [
        ({"status": 429, "headers": {"Retry-After": "60"}}, 503, "429"),
        ({"status": 500}, 503, "500"),
        ({"status": 503}, 503, "503"),
        ({"status": 401}, 403, "refuse"),
        ({"status": 403}, 403, "refuse"),
        ({"status": 404}, 404, "has no image"),
        ({"status": 400, "body": b"what?"}, 502, "400"),
        ({"redirect": "loop"}, 502, "redirect"),
        ({"redirect": "ftp://127.0.0.1/x"}, 502, ""),
        ({"body": b"<html>a login page</html>"}, 502, ""),
        ({"body": b"{}"}, 502, ""),
        ({"reset": -1}, 502, ""),
        ({"content_length": 10**9}, 502, ""),
    ],
    ids=str,
)
async def test_each_failure_of_a_manifest_says_whose_it_is(
    registry: Registry, client: Client, fault: dict[str, object], status: int, says: str
) -> None:
    registry.add_image("lab/failing", "1")
    registry.fault("/manifests/", **fault)
    got = await client.manifest(near(registry, "lab/failing"), "1")
    assert got.status == status, got.body
    error = got.json()["errors"][0]
    assert error["detail"]["fault"] == ("upstream" if status >= 500 else "caller")
    assert says in error["message"]
    assert registry.host in error["message"]
    if status == 503:
        assert int(got.headers["Retry-After"]) >= 1


@pytest.mark.parametrize(
    ("fault", "kept"),
    [
        ({"status": 429}, True),
        ({"status": 500}, True),
        ({"status": 403}, True),
        ({"reset": -1}, True),
        ({"redirect": "loop"}, True),
        ({"body": b"<html>"}, True),
        ({"status": 401}, False),
        ({"status": 404}, False),
    ],
    ids=str,
)
async def test_what_was_pulled_before_stays_while_the_registry_does_not_answer(
    registry: Registry, client: Client, fault: dict[str, object], kept: bool
) -> None:
    image = registry.add_image("lab/kept", "1", [noise(100_000)])
    name = near(registry, "lab/kept")
    await client.pull(name, "1")
    registry.fault("", **fault)
    got = await client.manifest(name, "1")
    assert got.status == (200 if kept else fault["status"] if fault["status"] == 404 else 403)
    if kept:
        verify(got, image["manifest"])
        await client.pull(name, "1")


async def test_a_tag_that_moves_during_a_pull_breaks_no_pull(registry: Registry, client: Client) -> None:
    name = near(registry, "lab/moving")
    old = registry.add_image("lab/moving", "1", [noise(SIZE)])
    first = await client.manifest(name, "1")
    verify(first, old["manifest"])
    new = registry.add_image("lab/moving", "1", [noise(SIZE)])
    verify(await client.manifest(name, "1"), new["manifest"])
    registry.remove("lab/moving", old["manifest"])
    for digest in (old["config"], *old["layers"], *new["layers"]):
        verify(await client.blob(name, digest), digest)
    verify(await client.manifest(name, old["manifest"]), old["manifest"])
    assert await client.pull(name, "1") == [new["config"], *new["layers"]]


async def test_a_manifest_that_lies_about_a_blobs_size(registry: Registry, client: Client) -> None:
    layer = noise(SIZE)
    image = registry.add_image("lab/liar", "1", [layer])
    config = {"mediaType": "x", "digest": image["config"], "size": 1}
    for tag, size in (("short", SIZE - 1), ("long", SIZE + 1), ("huge", 10**17), ("negative", -1)):
        document = {"schemaVersion": 2, "config": config, "layers": [config | {"digest": sha256(layer), "size": size}]}
        registry.add_manifest("lab/liar", repr(document).replace("'", '"').encode(), tag=tag)
    for tag in ("short", "long"):
        name = near(registry, "lab/liar")
        assert (await client.manifest(name, tag)).status == 200
        with pytest.raises(Broken):
            verify(await client.blob(name, sha256(layer)), sha256(layer))
    assert (await client.manifest(near(registry, "lab/liar"), "negative")).status == 502
    assert (await client.ask("GET", "/healthz")).status == 200


async def test_an_upstream_that_is_not_there(client: Client, free_port: int) -> None:
    got = await client.manifest(f"127.0.0.1_{free_port}/lab/x", "1")
    assert got.status == 502
    assert f"127.0.0.1:{free_port}" in got.message


async def test_fifty_clients_of_one_cold_blob_are_one_fetch(registry: Registry, client: Client) -> None:
    name = near(registry, "lab/crowd")
    image = registry.add_image("lab/crowd", "1", [noise(3_000_000)])
    digest = image["layers"][0]
    await client.manifest(name, "1")
    registry.fault(digest, rate=6_000_000)
    for got in await asyncio.gather(*(client.blob(name, digest) for _ in range(50))):
        verify(got, digest)
    assert registry.count("GET", digest) == 1


async def test_no_log_of_a_defect(node: Daemon) -> None:
    """The last of the module: whatever the registry did, nothing here was a defect of ours."""
    assert "Traceback" not in node.log()


async def test_a_stored_blob_has_its_size_whatever_the_registry_told(registry: Registry, client: Client) -> None:
    """Fault B15: HEAD of a blob whose length the upstream never tells."""
    name, data = near(registry, "lab/silent"), noise(SIZE)
    digest = registry.add_blob("lab/silent", data)
    registry.add_image("lab/silent", "1")
    registry.fault(BLOBS, chunked=True)
    assert "Content-Length" not in (await client.ask("HEAD", f"/v2/{name}/blobs/{digest}")).headers
    verify(await client.blob(name, digest), digest)
    head = await client.ask("HEAD", f"/v2/{name}/blobs/{digest}")
    assert (head.status, head.headers.get("Content-Length")) == (200, str(SIZE))
