"""Lock files of other tools: rattler reads them, and so do we."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from locked import AMD64, CHANNELS, entry, lock_of, locks, part

from wavelet.kinds.conda.locks.write import conda_lock, pixi_lock
from wavelet.kinds.conda.model.environment_text import read_environment
from wavelet.kinds.conda.model.node import LockedEnvironment
from wavelet.kinds.conda.model.packages import Package, Wheel
from wavelet.plan import canonical

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


@pytest.mark.process
@pytest.mark.parametrize("name", ["fastqc.linux-64", "vuegen.linux-64"])
def test_rattler_reads_pixi_lock(tmp_path: Path, name: str) -> None:
    entries = locked(name)
    plan = lock_of([of for of, _ in entries if isinstance(of, Package)], (WHEEL,))
    file = tmp_path / "pixi.lock"
    file.write_text(pixi_lock(plan, entries))
    done = subprocess.run([sys.executable, "-c", READ, file], check=False, capture_output=True, text=True, timeout=50)
    assert done.returncode == 0, done.stderr
    channels, packages = json.loads(done.stdout)
    assert {url: sha for url, sha, _, _ in packages} == {of.url: of.sha256 for of, _ in entries}
    assert ["my-tool", "1.0"] in [each[2:] for each in packages]
    assert all(CHANNELS in channel for channel in channels)


FILE_WHEEL = Wheel("file:///srv/wheels/own_tool-1.0%2Blocal-1-cp312-cp312-manylinux_2_28_x86_64.whl", "ab" * 32)


def explicit(plan: LockedEnvironment, _: Any) -> str:
    return plan.explicit


@pytest.mark.parametrize("write", [pixi_lock, conda_lock, explicit])
@pytest.mark.parametrize("wheels", [(), (WHEEL,), tuple(sorted((WHEEL, FILE_WHEEL)))])
def test_we_read_what_we_write(write: Any, wheels: tuple[Wheel, ...]) -> None:
    """Fault E2: the default form of a lock kept wheels in comments, which its own reader dropped."""
    entries = [*locked("fastqc.linux-64")[:-1], *((wheel, WHEEL_INFO) for wheel in wheels)]
    plan = lock_of([of for of, _ in entries if isinstance(of, Package)], wheels)
    text = write(plan, entries)
    found = read_environment(text, "lock").locked_for(AMD64, "lock")
    again = replace(plan, packages=tuple(sorted(found.packages)), wheels=found.wheels)
    assert canonical.key(again) == canonical.key(plan)
    assert read_environment(text.replace("\n", "\r\n"), "lock").locked_for(AMD64, "lock").wheels == wheels


def test_conda_lock_has_what_its_schema_wants() -> None:
    entries = locked("fastqc.linux-64")
    plan = lock_of([of for of, _ in entries if isinstance(of, Package)], (WHEEL,))
    document = yaml.safe_load(conda_lock(plan, entries))
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
    for write in (pixi_lock, conda_lock):
        assert write(plan, entries) == write(plan, entries)
        assert "&id" not in write(plan, entries)
