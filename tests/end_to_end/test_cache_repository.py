"""`wave.build.cacheRepository` between two daemons that have nothing but their key and a registry in common."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from lab.conda_asks import CondaSite, ask, digest, done
from lab.daemon import Daemon
from lab.processes import wait_for
from lab.push_site import PushSite

pytestmark = pytest.mark.registry

ENTRIES = ("samtools=1.17", "lab-report")
PUT_SECONDS = 20.0


def cached_layers(node: Daemon, outcome: str) -> int:
    """Return how many layers have come to something."""
    text = node.get("/metrics").body.decode()
    found = re.search(rf'^wavelet_cached_layers_total{{outcome="{outcome}"}} ([0-9]+)', text, re.MULTILINE)
    return int(found[1]) if found else 0


def made(node: Daemon, cache: str) -> tuple[str, str]:
    """Have an image frozen; return its name, and the log of its making."""
    answer = ask(node, *ENTRIES, freeze=True, cacheRepository=cache)
    assert done(node, answer["requestId"])["succeeded"] is True
    log = node.get(f"/v1alpha1/builds/{answer['buildId']}/logs").body.decode()
    return str(answer["targetImage"]), log


def test_the_second_daemon_links_no_package(
    start_daemon: Callable[..., Daemon], conda_site: CondaSite, tmp_path: Path
) -> None:
    key, cache = tmp_path / "cluster.key", f"{conda_site.registry.host}/layers/cache"
    key.touch(0o600)
    key.write_bytes(secrets.token_bytes(32))
    settings = {"settings": conda_site.settings(), "WAVELET_RECORDS_KEY_FILE": key}
    one = start_daemon(tmp_path / "one", **settings)
    first, log = made(one, cache)
    missing = cached_layers(one, "missing")
    assert missing > 2
    assert f"fetched from {cache}" not in log
    wait_for(lambda: cached_layers(one, "put") == missing, "all layers in the repository", PUT_SECONDS)
    two = start_daemon(tmp_path / "two", **settings)
    second, log = made(two, cache)
    assert digest(two, second) == digest(one, first)
    assert (cached_layers(two, "found"), cached_layers(two, "missing")) == (missing, 0)
    assert log.count(f"fetched from {cache}") == missing
    assert "made in" not in log
    stranger = start_daemon(tmp_path / "stranger", settings=conda_site.settings())
    assert digest(stranger, made(stranger, cache)[0]) == digest(one, first)
    assert cached_layers(stranger, "found") == 0


def test_with_the_callers_login(start_daemon: Callable[..., Daemon], push_site: PushSite, tmp_path: Path) -> None:
    """Without one the image is made all the same, and the log says what is missing."""
    cache = f"{push_site.locked.host}/team/layers"
    stranger = start_daemon(tmp_path / "stranger", settings=push_site.settings)
    _, log = made(stranger, cache)
    assert log.count(f"cacheRepository: layers are not looked for in {cache}") == 1
    assert cached_layers(stranger, "found") == cached_layers(stranger, "put") == 0
    one = start_daemon(tmp_path / "one", settings=push_site.settings)
    with replace(push_site, node=one).logged_in("ann"):
        _, log = made(one, cache)
        assert "cacheRepository" not in log
        missing = cached_layers(one, "missing")
        wait_for(lambda: cached_layers(one, "put") == missing > 2, "all layers in the repository", PUT_SECONDS)
