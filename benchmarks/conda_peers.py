"""The other ways to an environment: rattler into a directory, and buildah into an image of one layer."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from conda_site import SECONDS, Site

from lab.conda_asks import CHANNEL
from lab.engines import environment
from lab.processes import run

_PROGRAM = Path(__file__).with_name("conda_install.py")


def rattler(site: Site, specs: Sequence[str], channel: str = CHANNEL) -> dict[str, float]:
    """Install an environment with an empty cache; return the `seconds` and the `peak` of memory in megabytes."""
    directory = site.field.fresh("rattler")
    directory.mkdir()
    found = _install(site, specs, channel, directory / "prefix", directory / "cache")
    shutil.rmtree(directory)
    return found


def classic_way(site: Site, specs: Sequence[str]) -> dict[str, float]:
    """Build an image by buildah and push it, with an empty storage; return the seconds of each step."""
    storage = site.field.fresh("buildah")
    storage.mkdir()
    image = f"{site.registry.host}/classic/environment:{storage.name}"
    started = time.monotonic()
    container = _buildah(storage, "from", "--tls-verify=false", site.base)
    root = Path(_buildah(storage, "mount", container))
    try:
        based = time.monotonic()
        cache = root / "tmp" / "cache"
        installed = _install(site, specs, CHANNEL, root / "opt" / "conda", cache)["seconds"]
        begun = time.monotonic()
        shutil.rmtree(cache)
        cleaned = time.monotonic()
        _buildah(storage, "commit", "--quiet", container, image)
        committed = time.monotonic()
        _buildah(storage, "push", "--quiet", "--tls-verify=false", image, f"docker://{image}")
        pushed = time.monotonic()
    finally:
        _buildah(storage, "umount", container)
        _buildah(storage, "rm", container)
    shutil.rmtree(storage)
    return {
        "base": based - started,
        "install": installed,
        "clean": cleaned - begun,
        "commit": committed - cleaned,
        "push": pushed - committed,
    }


def _buildah(storage: Path, *arguments: str) -> str:
    place: list[str | Path] = ["--root", storage / "root", "--runroot", storage / "run", "--storage-driver", "overlay"]
    return run(["buildah", *place, *arguments], environment=environment(HOME=storage), seconds=SECONDS).stdout.strip()


def _install(site: Site, specs: Sequence[str], channel: str, prefix: Path, cache: Path) -> dict[str, float]:
    cache.mkdir()
    os.sync()
    command: list[str | Path] = [sys.executable, _PROGRAM, site.server.channel(channel), prefix, cache, *specs]
    printed = run(command, seconds=SECONDS).stdout
    return dict(json.loads(printed.splitlines()[-1]))
