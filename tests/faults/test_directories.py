"""Black box: directories that go away, are replaced or cannot be written while the daemon runs."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import aiohttp
import pytest
from pulls import Client, Got, near, noise

from doubles.registry import Registry
from lab.daemon import Daemon
from lab.disks import mounted


async def ask(client: Client, registry: Registry, number: int) -> Got:
    body = {"containerImage": f"{registry.host}/lab/base:1", "containerConfig": {"env": [f"N={number}"]}}
    return await client.ask("POST", "/v1alpha2/container", json=body)


async def test_directories_of_the_state_are_made_anew(
    registry: Registry, session: aiohttp.ClientSession, start_daemon: Callable[..., Daemon], state_dir: Path
) -> None:
    """Fault D4: `rmdir state/partial`, or `blobs/`, as those do who tidy up /tmp: every fetch 500 until a restart."""
    for name in ("a", "b", "c"):
        registry.add_image(f"lab/{name}", "1", [noise(300_000)])
    daemon = start_daemon()
    client = Client(session, daemon.url)
    (state_dir / "partial").rmdir()
    await client.pull(near(registry, "lab/a"), "1")
    daemon.settle()
    shutil.rmtree(state_dir / "blobs")
    for name in ("partial", "trash"):
        (state_dir / name).rmdir()
    await client.pull(near(registry, "lab/a"), "1")
    await client.pull(near(registry, "lab/b"), "1")
    daemon.settle()
    for name in ("blobs", "partial"):
        shutil.rmtree(state_dir / name)
    assert daemon.get("/readyz").status == 200
    await client.pull(near(registry, "lab/c"), "1")
    for name in ("blobs", "partial"):
        assert (state_dir / name).stat().st_mode & 0o077 == 0
    assert "Traceback" not in daemon.log()


@pytest.mark.parametrize("how", ["a file", "away"])
async def test_records_that_cannot_be_kept_are_said_and_nothing_is_lost(
    registry: Registry, session: aiohttp.ClientSession, start_daemon: Callable[..., Daemon], tmp_path: Path, how: str
) -> None:
    """Fault D9: `records.directory` replaced by a file: ready, and every new request 500."""
    registry.add_image("lab/base", "1")
    shared, aside = tmp_path / "shared", tmp_path / "aside"
    daemon = start_daemon(WAVELET_RECORDS_DIRECTORY=shared)
    client = Client(session, daemon.url)
    before = await ask(client, registry, 1)
    assert before.status == 200, before.body
    shared.rename(aside)
    if how == "a file":
        shared.write_bytes(b"")
    ready = daemon.get("/readyz")
    assert ready.status == 503
    assert str(shared) in ready.body.decode()
    refused = await ask(client, registry, 2)
    assert refused.status == 503, refused.body
    assert str(shared) in refused.message
    assert daemon.get("/healthz").status == 200
    assert how == "a file" or not shared.exists()
    shared.unlink(missing_ok=True)
    aside.rename(shared)
    assert daemon.get("/readyz").status == 200
    again = await ask(client, registry, 2)
    assert again.status == 200
    token = before.json()["containerToken"] if "containerToken" in before.json() else before.json()["requestId"]
    assert daemon.get(f"/v1alpha2/container/{token}").status == 200
    assert "Traceback" not in daemon.log()


@pytest.mark.parametrize("how", ["read-only", "unmounted"])
async def test_a_mount_that_fails_is_said(
    registry: Registry, session: aiohttp.ClientSession, start_daemon: Callable[..., Daemon], tmp_path: Path, how: str
) -> None:
    """Fault D9: read-only, or no longer mounted: nothing is written into the empty place below."""
    registry.add_image("lab/base", "1")
    with mounted(tmp_path / "disk", "10m") as place:
        daemon = start_daemon(WAVELET_RECORDS_DIRECTORY=place)
        client = Client(session, daemon.url)
        assert (await ask(client, registry, 1)).status == 200
        change = ["mount", "-o", "remount,ro", place] if how == "read-only" else ["umount", "-l", place]
        subprocess.run(change, check=True)
        try:
            ready = daemon.get("/readyz")
            refused = await ask(client, registry, 2)
            left = list(place.iterdir())
        finally:
            if how == "unmounted":
                subprocess.run(["mount", "-t", "tmpfs", "tmpfs", place], check=True)
        assert ready.status == 503
        assert refused.status == 503, refused.body
        assert str(place) in refused.message
        assert how == "read-only" or left == []


@pytest.mark.parametrize("how", ["read-only", "full", "unmounted"])
async def test_what_cannot_be_settled_for_all_nodes_is_held_and_then_not_answered(
    registry: Registry, session: aiohttp.ClientSession, start_daemon: Callable[..., Daemon], tmp_path: Path, how: str
) -> None:
    """A name that was given without a pin is answered once its binding is written, and by nothing else before."""
    registry.add_image("lab/base", "1")
    with mounted(tmp_path / "disk", "1m") as place:
        settings = {"upstream": {"patience": 2.0}, "records": {"directory": str(place)}}
        daemon = start_daemon(settings=settings)
        client = Client(session, daemon.url)
        registry.fault("/manifests/", status=503)
        name = (await ask(client, registry, 1)).json()["targetImage"].partition("/")[2].rpartition(":")[0]
        if how == "full":
            with (place / "filler").open("wb") as filler, contextlib.suppress(OSError):
                filler.write(bytes(2_000_000))
        else:
            change = ["mount", "-o", "remount,ro", place] if how == "read-only" else ["umount", "-l", place]
            subprocess.run(change, check=True)
        registry.clear_faults()
        began = time.monotonic()
        try:
            pulled = await client.manifest(name, "1")
            held = time.monotonic() - began
            left = list(place.glob("??/*.*")) if how != "unmounted" else list(place.iterdir())
        finally:
            if how == "unmounted":
                subprocess.run(["mount", "-t", "tmpfs", "tmpfs", place], check=True)
        assert (pulled.status, left) == (503, [])
        assert "what this name stands for could not be settled for all nodes" in pulled.message
        assert str(place) in pulled.message
        assert held >= 1.0
        if how == "unmounted":
            return
        if how == "full":
            (place / "filler").unlink()
        else:
            subprocess.run(["mount", "-o", "remount,rw", place], check=True)
        assert (await client.manifest(name, "1")).status == 200


async def test_a_layer_that_can_never_fit_is_said(
    registry: Registry, session: aiohttp.ClientSession, start_daemon: Callable[..., Daemon]
) -> None:
    """Fault D12: "ask again when running pulls have ended", of a layer that is larger than the store may be."""
    image = registry.add_image("lab/large", "1", [noise(1_100_000)])
    client = Client(session, start_daemon(WAVELET_STORE_LIMIT="1MB").url)
    got = await client.blob(near(registry, "lab/large"), image["layers"][0])
    assert got.status == 507
    assert "can never fit" in got.message
    assert "1000000" in got.message
    assert str(len(registry._blobs["lab/large", image["layers"][0]])) in got.message
    assert "ask again" not in got.message


async def test_a_directory_of_sif_files_that_goes_away_is_said(
    start_daemon: Callable[..., Daemon], tmp_path: Path
) -> None:
    shared, aside = tmp_path / "sif", tmp_path / "aside"
    daemon = start_daemon(WAVELET_SIF_DIRECTORY=shared)
    assert daemon.get("/readyz").status == 200
    shared.rename(aside)
    ready = daemon.get("/readyz")
    assert ready.status == 503
    assert f"(sif.directory) {shared} cannot be used" in ready.body.decode()
    assert not shared.exists()
    aside.rename(shared)
    assert daemon.get("/readyz").status == 200
    assert "Traceback" not in daemon.log()
