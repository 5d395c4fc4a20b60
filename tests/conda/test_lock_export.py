"""Lock files of other tools: rattler reads them, and so do we."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from locked import AMD64, CHANNELS, entry, lock_of, locks
from test_sbom import part

from wavelet.make.conda import lockfiles, meta
from wavelet.plan.conda import Package, Wheel
from wavelet.plan.environment import read_environment

WHEEL = Wheel("https://files.test/my_tool-1.0-py3-none-any.whl", "ef" * 32, 10)
WHEEL_INFO = part(WHEEL, index={"requires_dist": ["attrs (>=20) ; python_version<'4'", "six", "x ; extra == 'y'"]}).info

READ = """
import json, sys
from rattler import LockFile
environment = LockFile.from_path(sys.argv[1]).default_environment()
packages = [p for platform in environment.platforms() for p in environment.packages(platform)]
print(json.dumps([[str(c) for c in environment.channels()],
                  [[p.location, p.hashes.sha256.hex(), str(p.name), str(p.version)] for p in packages]]))
"""


def locked(name: str) -> list[tuple[Package | Wheel, Any]]:
    return [*map(entry, locks()[name]), (WHEEL, WHEEL_INFO)]


@pytest.mark.parametrize("name", ["fastqc.linux-64", "vuegen.linux-64"])
def test_rattler_reads_pixi_lock(tmp_path: Path, name: str) -> None:
    entries = locked(name)
    plan = lock_of([of for of, _ in entries if isinstance(of, Package)], (WHEEL,))
    file = tmp_path / "pixi.lock"
    file.write_text(lockfiles.pixi_lock(plan, entries))
    done = subprocess.run([sys.executable, "-c", READ, file], check=False, capture_output=True, text=True, timeout=50)
    assert done.returncode == 0, done.stderr
    channels, packages = json.loads(done.stdout)
    assert {url: sha for url, sha, _, _ in packages} == {of.url: of.sha256 for of, _ in entries}
    assert ["my-tool", "1.0"] in [each[2:] for each in packages]
    assert all(CHANNELS in channel for channel in channels)


@pytest.mark.parametrize("write", [lockfiles.pixi_lock, lockfiles.conda_lock])
def test_we_read_what_we_write(write: Any) -> None:
    entries = locked("fastqc.linux-64")
    plan = lock_of([of for of, _ in entries if isinstance(of, Package)], (WHEEL,))
    found = read_environment(write(plan, entries), "lock").locked_for(AMD64, "lock")
    assert tuple(sorted(found.packages)) == plan.packages
    assert found.wheels == plan.wheels


def test_we_read_our_explicit_list() -> None:
    packages = [package for package, _ in map(entry, locks()["fastqc.linux-64"])]
    found = read_environment(meta.explicit(packages, "linux-64"), "lock").locked_for(AMD64, "lock")
    assert sorted((p.url, p.sha256) for p in found.packages) == sorted((p.url, p.sha256) for p in packages)


def test_conda_lock_has_what_its_schema_wants() -> None:
    entries = locked("fastqc.linux-64")
    plan = lock_of([of for of, _ in entries if isinstance(of, Package)], (WHEEL,))
    document = yaml.safe_load(lockfiles.conda_lock(plan, entries))
    assert document["version"] == 1
    assert document["metadata"]["platforms"] == ["linux-64"]
    assert {c["url"] for c in document["metadata"]["channels"]} == {f"{CHANNELS}/conda-forge", f"{CHANNELS}/bioconda"}
    fastqc = next(p for p in document["package"] if p["name"] == "fastqc")
    assert fastqc["manager"] == "conda"
    assert fastqc["dependencies"]["perl"] == ""
    assert set(fastqc["hash"]) == {"md5", "sha256"}
    pip = next(p for p in document["package"] if p["manager"] == "pip")
    assert (pip["name"], pip["dependencies"]) == ("my-tool", {"attrs": "(>=20)", "six": "*"})


def test_the_same_lock_gives_the_same_files() -> None:
    entries = locked("fastqc.linux-64")
    plan = lock_of([of for of, _ in entries if isinstance(of, Package)], (WHEEL,))
    for write in (lockfiles.pixi_lock, lockfiles.conda_lock):
        assert write(plan, entries) == write(plan, entries)
        assert "&id" not in write(plan, entries)
