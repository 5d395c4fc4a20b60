"""The solver process: what it finds, what its errors say, and what happens when it dies or nobody asks."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from lab import conda_channel
from lab.conda_catalogue import GAP
from lab.conda_channel import ChannelServer
from lab.conda_packages import Package
from wavelet.config import Conda, Settings
from wavelet.errors import (
    AccessRefused,
    Internal,
    InvalidRequest,
    NotFound,
    Unsolvable,
    UpstreamBroken,
    UpstreamUnreachable,
)
from wavelet.image.reference import Platform
from wavelet.kinds.conda.model.packages import Libc
from wavelet.kinds.conda.solve import solver as module
from wavelet.kinds.conda.solve.messages import Origin, lack, virtual_packages, wants_cuda
from wavelet.kinds.conda.solve.solver import Question, Solver

AMD64 = Platform("linux", "amd64")
ARM64 = Platform("linux", "arm64")
GLIBC = Libc("glibc", "2.39")
OFFICIAL = "https://conda.anaconda.org"


def within(seconds: float) -> Settings:
    """Return settings that let a solve take so long."""
    return Settings(conda=Conda(solve_limit=seconds))


@pytest.fixture
async def solver(channel_server: ChannelServer, tmp_path: Path) -> AsyncIterator[Solver]:
    """Return a solver that asks the lab's server for every channel of the official host."""
    made = Solver(tmp_path / "solver", within(30), mirror=mirror(channel_server), generations=unchanged)
    yield made
    await made.close()


async def changed(channels: Iterable[str]) -> Mapping[str, int]:
    return dict.fromkeys(channels, 1)


async def unchanged(channels: Iterable[str]) -> Mapping[str, int]:
    return dict.fromkeys(channels, 0)


def mirror(server: ChannelServer) -> Callable[[str], str]:
    return lambda url: url.replace(OFFICIAL, server.url)


def asking(*specs: str, platform: Platform = AMD64, libc: Libc = GLIBC, subdir: str = "linux-64") -> Question:
    return Question(specs, (f"{OFFICIAL}/lab",), subdir, virtual_packages(platform, libc))


async def names(solver: Solver, question: Question) -> dict[str, str]:
    return {record.name: record.version for record in await solver.solve(question)}


async def test_packages_come_with_all_that_a_lock_needs(solver: Solver, channel: Path) -> None:
    records = await solver.solve(asking("samtools=1.17"))
    assert {record.name for record in records} >= {"samtools", "htslib", "libzlab", "libgcc-lab"}
    samtools = next(record for record in records if record.name == "samtools")
    file = samtools.url.rpartition("/")[2]
    known = json.loads((channel / "linux-64" / "repodata.json").read_text())["packages.conda"][file]
    assert samtools.url == f"{OFFICIAL}/lab/linux-64/{file}"
    assert (samtools.sha256, samtools.md5, samtools.size) == (known["sha256"], known["md5"], known["size"])
    assert samtools.depends == tuple(known["depends"])


async def test_specs_are_read_leniently(solver: Solver) -> None:
    for spec in ("samtools 1.17", "samtools 1.17.*", f"{OFFICIAL}/lab::samtools=1.17", "samtools >=1.10,<1.18"):
        assert (await names(solver, asking(spec)))["samtools"] == "1.17"


async def test_what_no_solver_reads_is_named(solver: Solver) -> None:
    with pytest.raises(InvalidRequest, match=r"packages\.entries: 'foo >>1' is not a spec") as caught:
        await solver.solve(asking("samtools", "foo >>1"))
    assert caught.value.field == "packages.entries"


async def test_only_packages_of_before_a_time(solver: Solver) -> None:
    assert (await names(solver, asking("samtools")))["samtools"] == "1.18"
    gap = module_time(GAP)
    assert (await names(solver, replace(asking("samtools"), newest=gap)))["samtools"] == "1.17"


def module_time(text: str) -> float:
    from datetime import datetime

    return datetime.fromisoformat(text).timestamp()


async def test_the_base_image_decides_on_builds(solver: Solver) -> None:
    new = await names(solver, asking("libzlab", libc=Libc("glibc", "2.39")))
    old = await names(solver, asking("libzlab", libc=Libc("glibc", "2.28")))
    assert (new["libzlab"], old["libzlab"]) == ("1.3", "1.2.13")


async def test_another_architecture_needs_no_emulation(solver: Solver) -> None:
    records = await solver.solve(asking("samtools=1.17", platform=ARM64, subdir="linux-aarch64"))
    assert {record.url.split("/")[-2] for record in records} <= {"linux-aarch64", "noarch"}


async def test_what_cannot_be_solved_is_explained(solver: Solver) -> None:
    with pytest.raises(Unsolvable) as caught:
        await solver.solve(asking("needs-old-samtools", "samtools=1.18"))
    first, _, rest = caught.value.message.partition("\n")
    assert first.startswith(
        f"no set of packages for linux-64 in {OFFICIAL}/lab satisfies needs-old-samtools, samtools=1.18"
    )
    assert "samtools" in rest
    assert "127.0.0.1" not in caught.value.message


async def test_a_base_without_glibc_is_named(solver: Solver) -> None:
    for libc, words in (
        (Libc("musl"), "has musl instead"),
        (Libc(), "has no C library"),
        (Libc("glibc", "2.1"), "2.1"),
    ):
        with pytest.raises(Unsolvable) as caught:
            await solver.solve(asking("samtools=1.17", libc=libc))
        assert words in lack(caught.value.message, libc, "docker.io/library/alpine:3")


async def test_a_wish_for_cuda_is_recognised(solver: Solver) -> None:
    with pytest.raises(Unsolvable) as caught:
        await solver.solve(asking("needs-cuda"))
    assert wants_cuda(caught.value.message)
    question = replace(asking("needs-cuda"), virtual=virtual_packages(AMD64, GLIBC, cuda=True))
    assert "needs-cuda" in await names(solver, question)


async def test_the_lowest_cpu_is_taken_for_granted(solver: Solver) -> None:
    with pytest.raises(Unsolvable, match="__archspec"):
        await solver.solve(asking("needs-level"))


async def test_the_first_channel_that_has_a_name_has_it_alone(
    solver: Solver, channel_server: ChannelServer, tmp_path: Path
) -> None:
    first = conda_channel.make_channel(tmp_path / "first", [Package("samtools", "0.1")])
    last = conda_channel.make_channel(tmp_path / "last", [Package("wants-new", depends=("samtools >=1",))])
    channel_server.channels = {**channel_server.channels, "first": first, "last": last}
    channels = tuple(f"{OFFICIAL}/{name}" for name in ("first", "lab", "last"))
    question = replace(asking("samtools"), channels=channels)
    assert await names(solver, question) == {"samtools": "0.1"}
    with pytest.raises(Unsolvable, match="strict channel priority"):
        await solver.solve(replace(question, specs=("wants-new",)))
    # As pixi has it: what a spec itself says of a package's version narrows the choice before priority does.
    assert (await names(solver, replace(question, specs=("samtools=1.17",))))["samtools"] == "1.17"


TWOFOLD = (
    Package("twofold"),
    Package("twofold", subdir="noarch", noarch="generic"),
    Package("needs-twofold", depends=("twofold",)),
    Package("built", build="h0_0"),
    Package("built", build="h1_1", license="GPL", index={"build_number": 1, "track_features": "odd"}),
    *(Package("often", f"1.{minor}") for minor in range(12)),
    Package("wants-more", depends=("often >=9",)),
)


@pytest.fixture(scope="module")
def two_channels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return two channels of which both have a package for linux-64 and for all platforms."""
    newer = [Package("twofold", "2.0"), Package("twofold", "2.0", subdir="noarch", noarch="generic")]
    place = tmp_path_factory.mktemp("twofold")
    return {
        name: conda_channel.make_channel(place / name, packages)
        for name, packages in (("two", TWOFOLD), ("newer", newer))
    }


@pytest.fixture
def twofold(channel_server: ChannelServer, two_channels: dict[str, Path]) -> Question:
    """Return a question to the two channels."""
    channel_server.channels |= two_channels
    return replace(asking("twofold"), channels=(f"{OFFICIAL}/two", f"{OFFICIAL}/newer"))


@pytest.mark.parametrize(
    ("specs", "place", "file"),
    [
        (("twofold",), Origin("twofold"), "two/linux-64/twofold-1.0-h0_0.conda"),
        (("twofold",), Origin("twofold", subdir="noarch"), "two/noarch/twofold-1.0-h0_0.conda"),
        (("twofold", "needs-twofold"), Origin("twofold", subdir="noarch"), "two/noarch/twofold-1.0-h0_0.conda"),
        ((f"{OFFICIAL}/newer::twofold",), Origin("twofold", subdir="noarch"), "newer/noarch/twofold-2.0-h0_0.conda"),
        (("twofold",), Origin("twofold", (f"{OFFICIAL}/newer",)), "newer/linux-64/twofold-2.0-h0_0.conda"),
        (("built[build_number=0]",), Origin("other"), "two/linux-64/built-1.0-h0_0.conda"),
        (("built[build_number='>=1']",), Origin("other"), "two/linux-64/built-1.0-h1_1.conda"),
        (("built[license=GPL]",), Origin("other"), "two/linux-64/built-1.0-h1_1.conda"),
        (("built[track_features=odd]",), Origin("other"), "two/linux-64/built-1.0-h1_1.conda"),
        (("built=*=h0*",), Origin("other"), "two/linux-64/built-1.0-h0_0.conda"),
    ],
)
async def test_what_a_spec_says_of_a_package_is_heeded(
    solver: Solver, twofold: Question, specs: tuple[str, ...], place: Origin, file: str
) -> None:
    """Fault E5: the subdir of a spec was read and dropped."""
    records = await solver.solve(replace(twofold, specs=specs, origins=(place,)))
    name = file.rpartition("/")[2].partition("-")[0]
    assert [record.url for record in records if record.name == name] == [f"{OFFICIAL}/{file}"]


async def test_what_is_locked_has_to_be_from_where_a_spec_says(solver: Solver, twofold: Question) -> None:
    locked = (f"{OFFICIAL}/two/linux-64/twofold-1.0-h0_0.conda",)
    assert await solver.solve(replace(twofold, locked=locked, origins=(Origin("twofold", subdir="linux-64"),))) == ()
    with pytest.raises(Unsolvable, match="the lock has twofold"):
        await solver.solve(replace(twofold, locked=locked, origins=(Origin("twofold", subdir="noarch"),)))


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("often=9.9", "there is often 1.11, 1.10, 1.9, 1.8, 1.7, 1.6, 1.5, 1.4 and 4 more"),
        ("often=1.3.5", "there is often 1.3, 1.4, 1.2, 1.5, 1.1, 1.6, 1.0, 1.7 and 4 more"),
        ("often<1", "there is often 1.0, 1.1,"),
        ("wants-more", "there is often 1.11, 1.10, 1.9"),
        ("built=1.0=h7", "built 1.0 has the builds h0_0, h1_1"),
        ("neverwas", "no channel has a package neverwas"),
    ],
)
async def test_the_versions_that_there_are(solver: Solver, twofold: Question, spec: str, words: str) -> None:
    """Fault E12: where no version fits, those that there are are named, the nearest first."""
    with pytest.raises(Unsolvable) as caught:
        await solver.solve(replace(twofold, specs=(spec,)))
    first, says, _ = caught.value.message.partition("; the solver says:\n")
    assert says
    assert words in first


UNBUILT = (
    Package("unbuilt"),
    Package("unbuilt-too", "2.1"),
    Package("behind", "1.0"),
    Package("behind", "1.1"),
    Package("behind", "1.0", subdir="linux-aarch64"),
    Package("pure", subdir="noarch", noarch="generic", depends=("unbuilt >=1",)),
    Package("pure-itself", subdir="noarch", noarch="generic"),
    Package("contradicts", subdir="linux-aarch64", depends=("behind >1",)),
)


@pytest.fixture(scope="module")
def unbuilt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a channel of which not all is built for aarch64."""
    return conda_channel.make_channel(tmp_path_factory.mktemp("unbuilt"), UNBUILT)


@pytest.mark.parametrize(
    ("specs", "words"),
    [
        (("unbuilt",), "unbuilt is built for linux-64, and neither for linux-aarch64 nor for noarch"),
        (("unbuilt", "pure-itself", "unbuilt-too=2.1"), "unbuilt, unbuilt-too=2.1 are built for linux-64, and"),
        (("behind=1.1",), "behind=1.1 is built for linux-64, and neither for linux-aarch64 nor"),
        (("pure",), "; unbuilt>=1 is built for linux-64, and neither"),
        ((f"{OFFICIAL}/lab::unbuilt=1.0",), "; unbuilt=1.0 is built for linux-64"),
        ((f"{OFFICIAL}/lab/::unbuilt=1.0=h0*",), "; unbuilt==1.0=h0* is built for linux-64"),
    ],
)  # fmt: skip
async def test_all_that_is_built_for_amd64_alone_is_named_with_what_helps(
    solver: Solver, channel_server: ChannelServer, unbuilt: Path, specs: tuple[str, ...], words: str
) -> None:
    """The solver itself names the first that it comes upon; users would learn of them one run at a time."""
    channel_server.channels = {"lab": unbuilt}
    with pytest.raises(Unsolvable) as caught:
        await solver.solve(asking(*specs, platform=ARM64, subdir="linux-aarch64"))
    first, says, _ = caught.value.message.partition("; the solver says:\n")
    assert says
    assert words in first
    assert "process { withName: 'NAME' { arch = 'amd64' } }" in first
    assert "no channel has" not in first


@pytest.mark.parametrize(
    ("specs", "platform", "subdir"),
    [
        (("neverwas",), ARM64, "linux-aarch64"),
        (("contradicts", "behind=1.0"), ARM64, "linux-aarch64"),
        (("behind=2",), AMD64, "linux-64"),
    ],
)
async def test_what_another_architecture_does_not_mend_is_no_matter_of_it(
    solver: Solver,
    channel_server: ChannelServer,
    unbuilt: Path,
    specs: tuple[str, ...],
    platform: Platform,
    subdir: str,
) -> None:
    channel_server.channels = {"lab": unbuilt}
    with pytest.raises(Unsolvable) as caught:
        await solver.solve(asking(*specs, platform=platform, subdir=subdir))
    assert "arch = " not in caught.value.message


async def test_an_index_that_nobody_asked_for_may_be_away(
    solver: Solver, channel_server: ChannelServer, unbuilt: Path
) -> None:
    channel_server.channels = {"lab": unbuilt}
    channel_server.fault("/linux-64/", status=500, times=100)
    with pytest.raises(Unsolvable, match="no set of packages for linux-aarch64"):
        await solver.solve(asking("unbuilt", platform=ARM64, subdir="linux-aarch64"))


async def test_a_directory_is_a_channel(solver: Solver, channel: Path) -> None:
    records = await solver.solve(replace(asking("bwa=0.7.17"), channels=(channel.as_uri(),)))
    assert any(record.url.startswith(f"{channel.as_uri()}/linux-64/bwa-0.7.17-") for record in records)


async def test_what_is_locked_stays(solver: Solver) -> None:
    kept = tuple(r.url for r in await solver.solve(asking("libzlab=1.2.13")))
    records = await solver.solve(replace(asking("htslib", "libzlab"), locked=kept))
    urls = {record.url for record in records}
    assert not urls & set(kept)
    assert {record.name for record in records}.isdisjoint({"libzlab"})
    assert any(record.name == "htslib" for record in records)


async def test_a_lock_that_has_everything_needs_no_channel(solver: Solver, channel_server: ChannelServer) -> None:
    channel_server.off()
    url = f"{OFFICIAL}/lab/linux-64/samtools-1.17-h0_0.conda"
    assert await solver.solve(replace(asking("samtools"), locked=(url,))) == ()
    with pytest.raises(Unsolvable, match=r"the lock has samtools 1\.17"):
        await solver.solve(replace(asking("samtools=1.18"), locked=(url,)))


async def test_a_locked_package_may_have_left_its_channel(solver: Solver) -> None:
    url = f"{OFFICIAL}/lab/linux-64/gone-0.9-h0_0.conda"
    records = await solver.solve(replace(asking("bwa=0.7.17"), locked=(url,)))
    assert any(record.name == "bwa" for record in records)


async def test_indexes_complete_what_a_list_of_urls_lacks(solver: Solver, channel: Path) -> None:
    (record,) = await solver.solve(replace(asking("tzdata"), virtual=()))
    gone = f"{OFFICIAL}/lab/noarch/gone-1-0.conda"
    assert await solver.lookup((record.url, gone)) == (record,)


async def test_a_channel_that_is_none(solver: Solver) -> None:
    with pytest.raises(NotFound, match=f"{OFFICIAL}/nothing is no conda channel") as caught:
        await solver.solve(replace(asking("bwa"), channels=(f"{OFFICIAL}/nothing",)))
    assert "127.0.0.1" not in caught.value.message


async def test_a_channel_that_does_not_answer(solver: Solver, channel_server: ChannelServer) -> None:
    channel_server.off()
    with pytest.raises(UpstreamUnreachable, match=f"{OFFICIAL}/lab") as caught:
        await solver.solve(asking("bwa"))
    assert "127.0.0.1" not in caught.value.message
    channel_server.on()
    assert "bwa" in await names(solver, asking("bwa"))


async def test_a_channel_that_wants_a_login(solver: Solver, channel_server: ChannelServer) -> None:
    channel_server.login = ("somebody", "word")
    with pytest.raises(AccessRefused, match="wants a login"):
        await solver.solve(asking("bwa"))


async def test_an_index_that_is_none(solver: Solver, channel_server: ChannelServer, tmp_path: Path) -> None:
    for subdir in ("linux-64", "noarch"):
        (tmp_path / subdir).mkdir()
        (tmp_path / subdir / "repodata.json").write_text("<html>Please log in</html>")
    channel_server.channels = {"lab": tmp_path}
    with pytest.raises(UpstreamBroken, match=f"{OFFICIAL}/lab has an index that is none: failed to parse"):
        await solver.solve(asking("bwa"))


async def test_what_the_library_does_not_take_is_a_defect(solver: Solver) -> None:
    with pytest.raises(Internal, match="error id"):
        await solver.solve(replace(asking("bwa"), virtual=(("__glibc", "no version", "0"),)))
    assert "bwa" in await names(solver, asking("bwa"))


async def test_nothing_but_mirrors_can_be_reached(tmp_path: Path, channel_server: ChannelServer) -> None:
    other = channel_server.channel().replace("127.0.0.1", "127.0.0.2")
    solver = Solver(tmp_path, within(30), mirror=lambda url: url, generations=unchanged)
    try:
        with pytest.raises(UpstreamUnreachable):
            await solver.solve(replace(asking("bwa"), channels=(other,)))
        assert not channel_server.requests
    finally:
        await solver.close()


async def test_an_index_is_read_once_until_it_has_changed(
    solver: Solver, channel_server: ChannelServer, channel: Path, tmp_path: Path
) -> None:
    mine = conda_channel.copy(channel, tmp_path / "mine")
    for index in mine.rglob("repodata*"):
        # An old file would be taken for fresh without a question (RFC 9111, 4.2.2), which the relay forbids.
        index.touch()
    channel_server.channels = {"lab": mine}
    assert (await names(solver, asking("moves")))["moves"] == "1.0"
    asked = len(channel_server.requests)
    conda_channel.add(mine, Package("moves", "2.0"))
    assert (await names(solver, asking("moves")))["moves"] == "1.0"
    assert len(channel_server.requests) == asked
    solver._generations = changed
    assert (await names(solver, asking("moves")))["moves"] == "2.0"
    asked = len(channel_server.requests)
    assert (await names(solver, asking("moves")))["moves"] == "2.0"
    assert len(channel_server.requests) == asked


async def test_several_requests_at_once(solver: Solver) -> None:
    answers = await asyncio.gather(
        *(solver.solve(asking(spec)) for spec in ("samtools", "bwa", "labtool", "openjdk") * 3)
    )
    assert all(answers)


async def test_a_process_that_dies_is_replaced(solver: Solver, channel_server: ChannelServer) -> None:
    channel_server.fault("repodata", delay=1, times=4)
    solving = asyncio.create_task(solver.solve(asking("bwa")))
    await kill(solver, channel_server)
    assert any(record.name == "bwa" for record in await solving)


async def test_a_request_that_kills_twice_is_a_defect(solver: Solver, channel_server: ChannelServer) -> None:
    channel_server.fault("repodata", delay=3, times=100)
    solving = asyncio.create_task(solver.solve(asking("bwa")))
    await kill(solver, channel_server)
    channel_server.requests.clear()
    await kill(solver, channel_server)
    with pytest.raises(Internal, match="error id"):
        await solving


async def kill(solver: Solver, server: ChannelServer) -> None:
    async with asyncio.timeout(20):
        while not server.requests:
            await asyncio.sleep(0.02)
    os.kill(process_of(solver).pid, signal.SIGKILL)


def process_of(solver: Solver) -> asyncio.subprocess.Process:
    assert solver._process is not None
    return solver._process.process


async def test_whoever_goes_away_stops_only_its_own_request(solver: Solver, channel_server: ChannelServer) -> None:
    channel_server.fault("repodata", delay=0.5, times=6)
    given_up = asyncio.create_task(solver.solve(asking("samtools")))
    stays = asyncio.create_task(solver.solve(asking("bwa")))
    async with asyncio.timeout(20):
        while not channel_server.requests:
            await asyncio.sleep(0.02)
    given_up.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await given_up
    assert any(record.name == "bwa" for record in await stays)
    assert solver._process is not None
    assert not solver._process.waiting


async def test_indexes_have_a_bounded_time(
    solver: Solver, channel_server: ChannelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "INDEX_LIMIT", 0.5)
    channel_server.fault("repodata", stall=5, times=100)
    short = Solver(solver._directory / "short", within(0.5), mirror=solver._mirror, generations=unchanged)
    try:
        with pytest.raises(UpstreamUnreachable, match="were not read within 1 s"):
            await short.solve(asking("bwa"))
    finally:
        await short.close()


async def test_an_idle_process_ends(solver: Solver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "IDLE_LIMIT", 0.2)
    await solver.solve(asking("tzdata"))
    process = process_of(solver)
    async with asyncio.timeout(10):
        await process.wait()
    assert process.returncode == 0
    assert await solver.solve(asking("tzdata"))


async def test_a_process_ends_with_its_daemon(solver: Solver) -> None:
    await solver.solve(asking("tzdata"))
    process = process_of(solver)
    assert process.stdin is not None
    process.stdin.transport.abort()
    async with asyncio.timeout(10):
        await process.wait()


async def test_a_solve_has_a_bounded_time(solver: Solver) -> None:
    hasty = Solver(solver._directory / "hasty", within(0.000001), mirror=solver._mirror, generations=unchanged)
    try:
        with pytest.raises(Unsolvable, match=r"within 0 s \(conda\.solve_limit\)"):
            await hasty.solve(asking("meta", "python", "labtool"))
    finally:
        await hasty.close()


async def test_many_requests_that_all_renew_the_index(solver: Solver) -> None:
    generations = itertools.count()

    async def changing(channels: Iterable[str]) -> Mapping[str, int]:
        return dict.fromkeys(channels, next(generations))

    solver._generations = changing
    answers = await asyncio.gather(*(solver.solve(asking("bwa=0.7.17")) for _ in range(20)))
    assert len({frozenset(record.url for record in records) for records in answers}) == 1


async def test_a_process_begins_without_what_an_earlier_one_has_left(solver: Solver) -> None:
    await solver.solve(asking("bwa"))
    await solver.close()
    left = solver._directory / "left"
    left.write_bytes(b"half of an index")
    for file in solver._directory.rglob("*"):
        if file.is_file():
            file.write_bytes(b"")
    assert await solver.solve(asking("bwa"))
    assert not left.exists()
    assert len(list(solver._directory.iterdir())) == 1
