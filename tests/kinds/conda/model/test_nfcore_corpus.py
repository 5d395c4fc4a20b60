"""The environments of nf-core's modules, as they are written: every one is read, and said what it needs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from wavelet.image.reference import Platform
from wavelet.kinds.conda.model.environment_text import Environment, read_environment
from wavelet.kinds.conda.model.node import CondaEnvironment
from wavelet.kinds.conda.model.package_request import CondaDefaults, PackageRequest
from wavelet.kinds.conda.model.specs import name_of
from wavelet.plan.canonical import canonical

SHARED = Path(os.environ.get("WAVELET_SHARED", Path(__file__).parents[5] / "shared")) / "data" / "nf-core"
pytestmark = pytest.mark.skipif(not SHARED.is_dir(), reason=f"no nf-core data at {SHARED} (or in WAVELET_SHARED)")

AMD64 = Platform("linux", "amd64")
SITE = CondaDefaults.of("ubuntu:24.04", ("conda-forge::procps-ng",), ("conda-forge", "bioconda"), platform=AMD64)
LENIENT = """
import json, sys
from rattler import MatchSpec
wrong, names = [], {}
for spec in json.load(sys.stdin):
    try:
        names[spec] = MatchSpec(spec).name.normalized
    except Exception as error:
        wrong.append(f"{spec}: {error}")
json.dump([wrong, names], sys.stdout)
"""


@cache
def environments() -> tuple[tuple[dict[str, Any], Environment], ...]:
    """Return each module's environment as it is written, and as it is read."""
    found = []
    for line in (SHARED / "environments.jsonl").read_text().splitlines():
        written = json.loads(line)
        members = {name: written[name] for name in ("channels", "dependencies") if name in written}
        found.append((written, read_environment(yaml.safe_dump(members), "packages.environment")))
    return tuple(found)


@cache
def plans() -> tuple[CondaEnvironment, ...]:
    """Return the plan of each."""
    return tuple(
        PackageRequest(environment, "packages.environment").plan(AMD64, SITE) for _, environment in environments()
    )


def test_every_environment_is_read() -> None:
    assert len(environments()) == 1962
    with_pip = [written for written, environment in environments() if environment.pip]
    assert len(with_pip) == 39
    bioconductor = [p for p in plans() if any(name_of(spec).startswith("bioconductor-") for spec in p.specs)]
    assert len(bioconductor) == 31
    assert not any(environment.locks for _, environment in environments())
    for written, environment in environments():
        entries = {entry for entry in written["dependencies"] if isinstance(entry, str)}
        assert len(environment.specs) <= len(entries)
        assert environment.specs


def test_every_environment_is_a_plan() -> None:
    keys = {canonical(plan) for plan in plans()}
    assert 1000 < len(keys) < 1962
    for (_, environment), plan in zip(environments(), plans(), strict=True):
        assert set(environment.specs) <= set(plan.specs)
        assert any(name_of(spec) == "procps-ng" for spec in plan.specs)
        assert not plan.pip or any(name_of(spec) == "pip" for spec in plan.specs)


@pytest.mark.process
def test_every_spec_is_read_by_the_solver() -> None:
    specs = sorted({spec for plan in plans() for spec in plan.specs})
    done = subprocess.run(
        [sys.executable, "-c", LENIENT], input=json.dumps(specs), capture_output=True, text=True, timeout=60, check=True
    )
    wrong, names = json.loads(done.stdout)
    assert wrong == []
    assert {spec: name_of(spec) for spec in specs} == names


LOCKS = sorted((SHARED / "locks").glob("*.json")) if SHARED.is_dir() else []


@pytest.mark.parametrize("path", LOCKS, ids=[path.stem for path in LOCKS])
def test_the_locks_of_wave(path: Path) -> None:
    """What Wave has resolved for a module is read as a list of packages, and its specs as an environment."""
    lock = json.loads(path.read_text())
    urls = [f"https://conda.anaconda.org/{package}" for package in lock["packages"]]
    subdir = path.stem.rpartition(".")[2]
    platform = AMD64 if subdir == "linux-64" else Platform("linux", "arm64")
    found = read_environment("@EXPLICIT\n" + "\n".join(urls), "f").locked_for(platform, "f")
    assert sorted(package.url for package in found.packages) == sorted(urls)
    text = yaml.safe_dump({"channels": lock["channels"], "dependencies": lock["specs"]})
    assert read_environment(text, "f").specs
