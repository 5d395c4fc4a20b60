"""Environments of nf-core, solved as of the day of Wave's own locks: the same packages have to come out.

The index is the union of what the locks chose, so that the problem is easier than on the channels themselves.
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from lab.conda_channel import ChannelServer
from wavelet.config import Conda, Settings
from wavelet.image.reference import Platform
from wavelet.kinds.conda.model.packages import Libc
from wavelet.kinds.conda.solve.messages import virtual_packages
from wavelet.kinds.conda.solve.solver import Question, Solver

pytestmark = pytest.mark.process

SHARED = Path(os.environ.get("WAVELET_SHARED", Path(__file__).parents[5] / "shared")) / "data" / "nf-core"
OFFICIAL = "https://conda.anaconda.org"
PLATFORMS = {"linux-64": Platform("linux", "amd64"), "linux-aarch64": Platform("linux", "arm64")}
GLIBC = Libc("glibc", "2.39")

OTHER_BUILDS = {"prokka.linux-64": {"hmmer"}, "prokka.linux-aarch64": {"hmmer"}}
"""By lock, packages that come out in a newer build, made before the lock but not yet in the channel's index then."""


def _locks() -> list[Any]:
    found = sorted((SHARED / "locks").glob("*.json"))
    if not found:
        absent = pytest.mark.skip(reason=f"no locks of nf-core at {SHARED} (or in WAVELET_SHARED)")
        return [pytest.param(None, marks=absent)]
    return [pytest.param(path, id=path.stem) for path in found]


@pytest.fixture(scope="module")
def server() -> Iterator[ChannelServer]:
    channels = SHARED / "channel"
    with ChannelServer({name: channels / name for name in ("conda-forge", "bioconda")}) as server:
        yield server


async def unchanged(channels: Iterable[str]) -> Mapping[str, int]:
    return dict.fromkeys(channels, 0)


@pytest.fixture
async def solver(server: ChannelServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Solver]:
    cache = tmp_path_factory.mktemp("solver")
    made = Solver(
        cache,
        Settings(conda=Conda(solve_limit=60)),
        mirror=lambda url: url.replace(OFFICIAL, server.url),
        generations=unchanged,
    )
    yield made
    await made.close()


def records(channel: str, subdir: str) -> dict[str, dict[str, Any]]:
    index = json.loads((SHARED / "channel" / channel / subdir / "repodata.json").read_text())
    return {**index["packages"], **index["packages.conda"]}


def newest(packages: list[str]) -> float:
    times = []
    for package in packages:
        channel, subdir, file = package.split("/")
        times.append(records(channel, subdir)[file].get("timestamp", 0))
    return max(times) / 1000


@pytest.mark.parametrize("path", _locks())
async def test_the_locks_own_packages_come_out(path: Path, solver: Solver) -> None:
    lock = json.loads(path.read_text())
    specs = [*lock["specs"], *lock["base_packages"]]
    if any("/which-" in package for package in lock["packages"]):
        specs.append("conda-forge::which")
    question = Question(
        specs=tuple(sorted(specs)),
        channels=tuple(f"{OFFICIAL}/{channel}" for channel in lock["channels"]),
        subdir=lock["subdir"],
        virtual=virtual_packages(PLATFORMS[lock["subdir"]], GLIBC),
        newest=newest(lock["packages"]),
    )
    found = {record.url.removeprefix(f"{OFFICIAL}/") for record in await solver.solve(question)}
    wanted = set(lock["packages"])
    others = OTHER_BUILDS.get(path.stem, set())
    assert names_and_versions(found) == names_and_versions(wanted)
    assert {version[0] for version in names_and_versions(found ^ wanted)} == others


def names_and_versions(packages: set[str]) -> set[tuple[str, str]]:
    return {(name, version) for name, version, _ in (package.rsplit("/", 1)[1].rsplit("-", 2) for package in packages)}
