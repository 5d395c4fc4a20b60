"""From what is asked to a lock: on real channels, through the relay, with claims that two nodes share."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from lab import conda_channel
from lab.conda_catalogue import GAP
from lab.conda_channel import ChannelServer
from lab.conda_packages import Package as Made
from wavelet.cluster.shared_directory.claims import DirectoryClaims
from wavelet.config import Settings
from wavelet.errors import (
    AccessRefused,
    DigestMismatch,
    InvalidRequest,
    NotFound,
    OurError,
    TooLarge,
    Unsolvable,
    UpstreamBroken,
    UpstreamUnreachable,
)
from wavelet.image.reference import Digest, Platform, Reference
from wavelet.kinds.conda.channels import relay
from wavelet.kinds.conda.channels.client import Channels
from wavelet.kinds.conda.channels.relay import Relay
from wavelet.kinds.conda.locks import fetch, shared_locks
from wavelet.kinds.conda.locks.shared_locks import Locks
from wavelet.kinds.conda.model.environment_text import Environment
from wavelet.kinds.conda.model.node import CondaEnvironment, LockedEnvironment
from wavelet.kinds.conda.model.packages import Libc, Package, Wheel
from wavelet.kinds.conda.pip.requirements import PipRequest, PipResolver
from wavelet.kinds.conda.pip.wheel_urls import FetchedWheel
from wavelet.kinds.conda.solve.completion import Completion
from wavelet.kinds.conda.solve.pinner import CondaPinner, EnvironmentSolver
from wavelet.kinds.conda.solve.solver import Solver
from wavelet.kinds.registry_image.node import RegistryImage
from wavelet.kinds.table import FORMS
from wavelet.store import content
from wavelet.store.content import ContentStore
from wavelet.store.database import Database
from wavelet.upstream import retry

AMD64 = Platform("linux", "amd64")
ARM64 = Platform("linux", "arm64")
UBUNTU = RegistryImage(Reference.parse("docker.io/library/ubuntu:24.04"), AMD64)
PINNED = RegistryImage(Reference.parse(f"docker.io/library/ubuntu@sha256:{'1' * 64}"), AMD64)
KEY = bytes(range(32))
WEEK = 7 * 86400.0


@pytest.fixture(autouse=True)
def apart(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep the files of whoever runs the tests out, and waits short."""
    for name in ("CONDARC", "RATTLER_AUTH_FILE", "NETRC", "XDG_CONFIG_HOME", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(retry, "REQUESTS", replace(retry.REQUESTS, first_delay=0.01))


class Node:
    """A pinner with all that it needs, on a directory of its own; what it reported and which archives it fetched."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0
        self.lines: list[str] = []
        self.archives: list[str] = []
        self.libc = Libc("glibc", "2.39")
        self.libc_asked = 0
        self.pinner: CondaPinner
        self.claims: DirectoryClaims
        self.database: Database
        self.store: ContentStore

    async def pin(self, leaf: CondaEnvironment, **options: Any) -> LockedEnvironment:
        return await self.pinner.pin(
            leaf, replace(PINNED, platform=leaf.platform), self._libc, self.lines.append, **options
        )

    async def _libc(self) -> Libc:
        self.libc_asked += 1
        return self.libc

    async def archive(self, package: Package) -> Package:
        self.archives.append(package.url)
        return replace(package, sha256="a" * 64, size=1)

    async def wheel(self, url: str) -> FetchedWheel:
        raise NotFound(url)


Start = Callable[..., Awaitable[Node]]


@pytest.fixture
async def node(tmp_path: Path, channel_server: ChannelServer) -> AsyncIterator[Start]:
    """Return a function that starts a node; nodes share claims. Names of channels are those of the lab's server."""
    async with AsyncExitStack() as stack:

        async def start(name: str = "one", **conda: Any) -> Node:
            directory = tmp_path / name
            directory.mkdir(exist_ok=True)
            node = Node()
            settings = msgspec.convert(
                {
                    "conda": {"channel_alias": channel_server.url, "solve_limit": 30, "renew_names": WEEK, **conda},
                    "store": {"limit": 1 << 30},
                },
                Settings,
            )
            channels = await stack.enter_async_context(Channels(settings))
            schema = content.SCHEMA + relay.SCHEMA + shared_locks.SCHEMA
            database = Database(directory / "node.db", schema, synchronous="NORMAL")
            stack.callback(database.close)
            store = ContentStore(directory, database, settings)
            node.database, node.store = database, store
            stack.push_async_callback(store.close)
            door = Relay(channels, store, database, settings)
            await door.start()
            stack.push_async_callback(door.close)
            node.claims = DirectoryClaims(tmp_path / "shared", KEY)
            stack.push_async_callback(node.claims.close)
            ways: dict[str, Any] = {"mirror": door.url_for, "generations": door.generations.of}
            solver = Solver(directory / "solver", settings, failure=door.failure, **ways)
            known = Locks(database, node.claims, FORMS, settings, lambda: node.now)
            pip = PipResolver(settings, directory / "pip", node.wheel)
            solves = EnvironmentSolver(channels, door, solver, Completion(solver, node.archive), pip)
            node.pinner = CondaPinner(known, solves, channels.open)
            stack.push_async_callback(node.pinner.close)
            return node

        yield start


def asked(*specs: str, **others: Any) -> CondaEnvironment:
    members: dict[str, Any] = {"specs": tuple(sorted(specs)), "channels": ("lab",), "platform": AMD64, "base": UBUNTU}
    return CondaEnvironment(**(members | others))


def versions(lock: LockedEnvironment) -> dict[str, str]:
    return {package.name: package.version for package in lock.packages}


# -- solving -----------------------------------------------------------------------------------------------------------


async def test_a_lock_has_everything_and_no_more(node: Start, channel_server: ChannelServer) -> None:
    one = await node()
    lock = await one.pin(asked("samtools=1.17"))
    assert versions(lock)["samtools"] == "1.17"
    assert lock.packages == tuple(sorted(lock.packages))
    assert all(package.sha256 and package.md5 and package.size for package in lock.packages)
    assert all(package.url.startswith(f"{channel_server.url}/lab/") for package in lock.packages)
    assert (lock.base, lock.platform, lock.wheels, lock.scripts) == (PINNED, AMD64, (), True)
    assert one.archives == []
    log = "\n".join(one.lines)
    assert "solving samtools=1.17 for linux-64" in log
    assert f"channels: {channel_server.url}/lab; the image provides __unix=0, __linux=4.18, __glibc=2.39" in log
    assert f"solved: {len(lock.packages)} packages, {sum(p.size or 0 for p in lock.packages)} bytes" in log


async def test_channels_in_specs_are_those_of_the_site(
    node: Start, channel_server: ChannelServer, tmp_path: Path
) -> None:
    mine = conda_channel.make_channel(tmp_path / "mine", [Made("bwa", "9.9"), Made("other")])
    channel_server.channels = {**channel_server.channels, "mine": mine}
    one = await node()
    lock = await one.pin(asked("mine::bwa", "samtools=1.17", "mine/linux-64::other", channels=("lab", "mine")))
    assert versions(lock)["bwa"] == "9.9"
    unnamed = await one.pin(asked("mine::bwa", "samtools=1.17"))  # the channel is named nowhere else
    assert versions(unnamed)["bwa"] == "9.9"
    await one.pin(asked("lab::bwa=0.7.17", channels=("mine", "lab")))


async def test_as_of_a_date(node: Start) -> None:
    one = await node()
    assert versions(await one.pin(asked("samtools")))["samtools"] == "1.18"
    assert versions(await one.pin(asked("samtools", as_of=GAP)))["samtools"] == "1.17"


async def test_arm64_needs_no_emulation(node: Start) -> None:
    one = await node()
    lock = await one.pin(asked("samtools=1.17", platform=ARM64))
    assert {package.subdir for package in lock.packages} <= {"linux-aarch64", "noarch"}
    assert lock.platform == ARM64
    assert "__archspec=1" in "\n".join(one.lines)


async def test_what_cannot_be_solved_is_explained(node: Start) -> None:
    one = await node()
    with pytest.raises(Unsolvable) as caught:
        await one.pin(asked("needs-old-samtools", "samtools=1.18"))
    assert caught.value.status == 400
    assert "no set of packages" in caught.value.message.partition("\n")[0]
    assert "/http/" not in caught.value.message  # the relay's path


async def test_what_the_base_lacks_is_said(node: Start) -> None:
    one = await node()
    one.libc = Libc("musl")
    with pytest.raises(Unsolvable, match=r"ubuntu:24\.04 has musl instead of glibc; another base image"):
        await one.pin(asked("samtools"))


async def test_cuda_is_taken_for_granted_where_it_is_wanted(node: Start) -> None:
    one = await node()
    assert "needs-cuda" in versions(await one.pin(asked("needs-cuda")))
    assert any(line.startswith("warning: packages want a CUDA driver") for line in one.lines)
    two = await one.pin(asked("bwa"))
    assert "bwa" in versions(two)
    assert sum("CUDA" in line for line in one.lines) == 1


async def test_defaults_are_dropped_with_a_warning(node: Start) -> None:
    one = await node()
    await one.pin(asked("bwa", channels=("lab", "defaults")))
    assert any(line.startswith("warning:") and "defaults" in line for line in one.lines)


async def test_where_a_spec_wants_its_package_from(node: Start, channel_server: ChannelServer, tmp_path: Path) -> None:
    """Fault E5: `conda-forge/noarch::twofold` was the package of linux-64."""
    twofold = [Made("twofold"), Made("twofold", subdir="noarch", noarch="generic")]
    for name in ("main", "r"):
        channel_server.channels[name] = conda_channel.make_channel(tmp_path / name, twofold)
    one = await node()
    for spec in ("main/noarch::twofold", "twofold[subdir=noarch]"):
        lock = await one.pin(asked(spec, channels=("main",)))
        assert [package.subdir for package in lock.packages] == ["noarch"]
    with pytest.raises(InvalidRequest, match=r"is for osx-64, and an image for linux/amd64 takes linux-64 and noarch"):
        await one.pin(asked("main/osx-64::twofold"))
    with pytest.raises(InvalidRequest, match=r"'defaults::twofold' cannot be had: .*conda\.defaults"):
        await one.pin(asked("defaults::twofold", channels=("main",)))
    (tmp_path / ".condarc").write_text(f"default_channels: [{channel_server.url}/main, {channel_server.url}/r]\n")
    both = await node("both", defaults=True)
    lock = await both.pin(asked("defaults/noarch::twofold", channels=("lab",)))
    assert [package.url for package in lock.packages] == [f"{channel_server.url}/main/noarch/twofold-1.0-h0_0.conda"]


async def test_a_package_that_may_be_in_defaults_only(node: Start) -> None:
    """Fault E8: no word said that `defaults` had been dropped where a package was not found."""
    one = await node()
    with pytest.raises(Unsolvable, match=r"(?s)`defaults` is left out.*conda\.defaults.*the solver says") as caught:
        await one.pin(asked("only-there", channels=("lab", "defaults")))
    assert caught.value.message.index("defaults") < caught.value.message.index("\n")
    with pytest.raises(Unsolvable) as without:
        await one.pin(asked("only-there"))
    assert "defaults" not in without.value.message


async def test_an_error_blames_what_this_request_has_asked_for(node: Start, channel_server: ChannelServer) -> None:
    """Fault E6: a channel that somebody else had asked for was blamed for a failure of another one."""
    one = await node()
    with pytest.raises(NotFound, match="lab/label/typo5"):
        await one.pin(asked("bwa", channels=("lab/label/typo5",)))
    with pytest.raises(NotFound, match="nochan") as caught:
        await one.pin(asked("nochan::zzz", channels=("lab",)))
    assert "typo5" not in caught.value.message
    assert "typo5" not in (await _message_of(one, asked("zzz", channels=("lab", "lab/label/other"))))


async def _message_of(node: Node, leaf: CondaEnvironment) -> str:
    with pytest.raises(NotFound) as caught:
        await node.pin(leaf)
    return caught.value.message


@pytest.mark.parametrize("ttl", [300, 0])
async def test_a_channel_that_is_made_after_it_was_asked_for(
    node: Start, channel_server: ChannelServer, channel: Path, tmp_path: Path, ttl: float
) -> None:
    """Fault E7: a channel that was not there when it was asked for was not found for minutes, nor with a refresh."""
    one = await node(repodata_ttl=ttl)
    leaf = asked("moves", channels=("late",))
    for refresh in (False, True):
        with pytest.raises(NotFound) as caught:
            await one.pin(leaf, refresh=refresh)
        assert time.monotonic() + ttl + 1 > caught.value.cached_until > 0.0
    late = conda_channel.make_channel(tmp_path / "late", [Made("moves", "1.0", subdir="noarch", noarch="generic")])
    channel_server.channels["late"] = late
    assert versions(await one.pin(leaf, refresh=ttl > 0)) == {"moves": "1.0"}
    # A directory of the channel that is not there at first is such a thing too.
    with pytest.raises(Unsolvable):
        await one.pin(asked("more", channels=("late",)))
    conda_channel.add(late, Made("more", "1.0", subdir="linux-64"))
    assert versions(await one.pin(asked("more", channels=("late",)), refresh=ttl > 0)) == {"more": "1.0"}


async def test_errors_of_the_request_are_named(node: Start) -> None:
    one = await node()
    with pytest.raises(InvalidRequest, match="foo >>1"):
        await one.pin(asked("foo >>1"))
    with pytest.raises(NotFound, match=r"no channel at .*/nowhere"):
        await one.pin(asked("bwa", channels=("nowhere",)))
    closed = await node("closed", allowed_channels=["other"])
    with pytest.raises(AccessRefused):
        await closed.pin(asked("bwa"))
    with pytest.raises(AccessRefused):
        await closed.pin(asked(locked=(Package("https://conda.anaconda.org/lab/noarch/a-1-0.conda", "1" * 64),)))


async def test_an_index_may_not_lead_elsewhere(node: Start, channel_server: ChannelServer, tmp_path: Path) -> None:
    mine = conda_channel.make_channel(tmp_path / "mine", [Made("led")])
    index = mine / "linux-64" / "repodata.json"
    document = json.loads(index.read_text())
    for form in ("repodata.json.zst", "repodata.json.bz2", "repodata_shards.msgpack.zst"):
        (mine / "linux-64" / form).unlink(missing_ok=True)
    channel_server.channels = {"mine": mine}
    for base, error in (("https://elsewhere.test/other", AccessRefused), ("https://u:p@x.test/a/b", UpstreamBroken)):
        document["info"]["base_url"] = base
        index.write_text(json.dumps(document))
        one = await node(f"node {error.__name__}", allowed_channels=["mine"])
        with pytest.raises(error):
            await one.pin(asked("led", channels=("mine",)))


async def test_a_lock_may_be_older_than_the_sites_rules(node: Start) -> None:
    one = await node()
    await one.pin(asked("bwa"))
    closed = await node("closed", allowed_channels=["other"])
    with pytest.raises(AccessRefused):
        await closed.pin(asked("bwa"))


# -- the first lock stands ---------------------------------------------------------------------------------------------


async def test_two_nodes_agree_while_the_channel_moves(
    node: Start, channel_server: ChannelServer, channel: Path, tmp_path: Path
) -> None:
    mine = conda_channel.copy(channel, tmp_path / "moving")
    channel_server.channels = {"lab": mine}
    one, two = await node("one"), await node("two")
    leaf = asked("moves")
    monday = await one.pin(leaf)
    conda_channel.add(mine, Made("moves", "2.0"))
    assert await two.pin(leaf) == monday
    assert any("the lock of the first request stands" in line for line in two.lines)
    assert versions(await two.pin(asked("moves", "bwa")))["moves"] == "2.0"
    refreshed = await two.pin(leaf, refresh=True)
    assert versions(refreshed) == {"moves": "2.0"}
    one.now += shared_locks.CACHED_SECONDS + 1
    assert await one.pin(leaf) == refreshed


async def test_images_of_few_layers_are_of_the_lock_that_those_of_many_are_of(
    node: Start, channel_server: ChannelServer, channel: Path, tmp_path: Path
) -> None:
    mine = conda_channel.copy(channel, tmp_path / "moving")
    channel_server.channels = {"lab": mine}
    one, two = await node("one"), await node("two")
    many = await one.pin(asked("moves"))
    conda_channel.add(mine, Made("moves", "2.0"))
    leaf = asked("moves", layers="few")
    few = await two.pin(leaf)
    assert few == replace(many, layers="few")
    assert two.pinner.fresh(leaf) == replace(few, base=UBUNTU)
    assert two.pinner.fresh(asked("moves")) == replace(many, base=UBUNTU)
    await one.pinner.mark_built(many)
    assert await two.pinner.was_built(few)


async def test_a_lock_is_at_hand_without_a_question(node: Start, channel_server: ChannelServer) -> None:
    one = await node()
    leaf = asked("bwa")
    assert one.pinner.fresh(leaf) is None
    lock = await one.pin(leaf)
    assert one.pinner.fresh(leaf) == replace(lock, base=UBUNTU)
    assert one.libc_asked == 1
    channel_server.off()
    one.now += shared_locks.CACHED_SECONDS + 1
    assert one.pinner.fresh(leaf) is None  # another node may have refreshed it
    assert await one.pin(leaf) == lock
    assert one.pinner.fresh(leaf) is not None
    other_base = replace(PINNED, reference=Reference.parse(f"docker.io/library/ubuntu@sha256:{'2' * 64}"))
    assert (await one.pinner.pin(leaf, other_base, one._libc, one.lines.append)).base == other_base


async def test_a_restarted_node_has_its_locks(node: Start, channel_server: ChannelServer) -> None:
    one = await node()
    lock = await one.pin(asked("bwa"))
    channel_server.off()
    again = await node()
    assert await again.pin(asked("bwa")) == lock


async def test_a_nodes_own_lock_stands_in_for_the_shared_place(
    node: Start, channel_server: ChannelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = await node()
    lock = await one.pin(asked("bwa"))
    one.now += shared_locks.CACHED_SECONDS + 1

    async def gone(key: str) -> bytes | None:
        raise OurError("the directory does not answer")

    monkeypatch.setattr(one.claims, "claimed", gone)
    channel_server.off()
    assert await one.pin(asked("bwa")) == lock


async def test_a_lock_that_was_lost_is_shared_again(node: Start, channel_server: ChannelServer, tmp_path: Path) -> None:
    one, two = await node("one"), await node("two")
    lock = await one.pin(asked("bwa"))
    for file in (tmp_path / "shared" / "claims").glob("*/*"):
        file.unlink()
    one.now += shared_locks.CACHED_SECONDS + 1
    assert await one.pin(asked("bwa")) == lock
    channel_server.off()
    assert await two.pin(asked("bwa")) == lock


async def test_a_forged_lock_is_none(node: Start, tmp_path: Path) -> None:
    one, two = await node("one"), await node("two")
    lock = await one.pin(asked("bwa"))
    for file in (tmp_path / "shared" / "claims").glob("*/*"):
        file.write_bytes(file.read_bytes().replace(b"bwa", b"bad"))
    assert await two.pin(asked("bwa")) == lock


async def test_a_name_is_solved_anew_by_age(
    node: Start, channel_server: ChannelServer, channel: Path, tmp_path: Path
) -> None:
    mine = conda_channel.copy(channel, tmp_path / "moving")
    channel_server.channels = {"lab": mine}
    one = await node(repodata_ttl=0)
    leaf = asked("moves", renewed=True)
    first = await one.pin(leaf)
    conda_channel.add(mine, Made("moves", "2.0"))
    assert await one.pin(leaf) == first
    one.now += WEEK
    assert one.pinner.fresh(leaf) is None
    channel_server.off()
    other = await node("other")  # it never had the lock itself, nor the index
    other.now = one.now
    assert await other.pin(leaf) == first
    assert any("an earlier lock stands in" in line for line in other.lines)
    assert other.pinner.fresh(leaf) is not None  # for a while, so that not everybody waits for the channel
    with pytest.raises(UpstreamUnreachable):
        await other.pin(asked("samtools", renewed=True))
    channel_server.on()
    assert versions(await one.pin(leaf)) == {"moves": "2.0"}
    other.now += shared_locks.CACHED_SECONDS + 1
    assert versions(await other.pin(leaf)) == {"moves": "2.0"}


async def test_a_nodes_own_earlier_lock_stands_in(node: Start, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    one = await node()
    leaf = asked("bwa", renewed=True)
    lock = await one.pin(leaf)
    await one.database.write([])  # what is written later is written
    one.now += 10 * WEEK

    async def down(*_: Any, **__: Any) -> tuple[Any, ...]:
        raise UpstreamUnreachable("nobody there")

    monkeypatch.setattr(Solver, "solve", down)
    assert await one.pin(leaf) == lock
    with pytest.raises(UpstreamUnreachable):
        await one.pin(leaf, refresh=True)
    with pytest.raises(UpstreamUnreachable):
        await one.pin(asked("bwa"))


async def test_without_a_lock_a_dead_channel_is_the_upstreams_fault(node: Start, channel_server: ChannelServer) -> None:
    one = await node()
    channel_server.off()
    with pytest.raises(UpstreamUnreachable, match="cannot reach"):
        await one.pin(asked("bwa"))
    channel_server.on()
    assert "bwa" in versions(await one.pin(asked("bwa")))


async def test_old_locks_are_forgotten(node: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    one = await node()
    await one.pin(asked("bwa"))
    one.now += shared_locks.KEPT + 1
    one.pinner.expire()
    monkeypatch.setattr(one.claims, "claimed", _nothing)
    again = await node()
    again.now = one.now
    assert again.pinner.fresh(asked("bwa")) is None


async def test_indexes_that_were_evicted_are_forgotten(node: Start) -> None:
    one = await node()
    await one.pin(asked("bwa"))
    held = "SELECT digest FROM channel_files WHERE digest != ''"
    kept = one.database.read(held)
    one.pinner.expire()
    await one.database.write([])
    assert one.database.read(held) == kept != []
    await one.store.room.evict([Digest(digest) for (digest,) in kept])
    one.pinner.expire()
    await one.database.write([])
    assert one.database.read(held) == []


async def _nothing(key: str) -> bytes | None:
    return None


# -- a lock in the request ---------------------------------------------------------------------------------------------


async def test_a_lock_that_is_asked_for_is_taken_as_it_is(node: Start, channel_server: ChannelServer) -> None:
    one = await node()
    solved = await one.pin(asked("samtools=1.17"))
    channel_server.off()
    assert await one.pin(asked(locked=solved.packages)) == solved
    assert await one.pin(asked("samtools", locked=solved.packages)) == solved
    wheel = Wheel("https://wheels.test/a-1-py3-none-any.whl", "b" * 64)
    assert (await one.pin(asked(locked=solved.packages, wheels=(wheel,)))).wheels == (wheel,)


async def test_the_solver_adds_what_a_lock_lacks(node: Start) -> None:
    one = await node()
    solved = await one.pin(asked("samtools=1.17"))
    both = await one.pin(asked("bwa=0.7.17", "samtools", locked=solved.packages))
    assert set(solved.packages) < set(both.packages)
    assert versions(both)["bwa"] == "0.7.17"
    with pytest.raises(Unsolvable, match=r"the lock has samtools 1\.17"):
        await one.pin(asked("samtools=1.18", locked=solved.packages))


async def test_checksums_are_completed_from_the_index(node: Start, channel_server: ChannelServer) -> None:
    one = await node()
    solved = await one.pin(asked("samtools=1.17"))
    bare = tuple(Package(package.url) for package in solved.packages)
    assert await one.pin(asked(locked=bare)) == solved
    assert one.archives == []
    wrong = tuple(replace(package, sha256=None, md5="0" * 32) for package in solved.packages)
    with pytest.raises(DigestMismatch, match="its channel has it with the md5"):
        await one.pin(asked(locked=wrong))


async def test_archives_complete_what_no_index_has(node: Start, channel_server: ChannelServer) -> None:
    one = await node()
    gone = Package(f"{channel_server.channel()}/noarch/gone-1-0.conda", None, "0" * 32)
    lock = await one.pin(asked(locked=(gone,)))
    assert lock.packages == (replace(gone, sha256="a" * 64),)
    assert one.archives == [gone.url]
    elsewhere = Package(f"{channel_server.url}/nowhere/noarch/gone-1-0.conda")
    assert (await one.pin(asked(locked=(elsewhere,)))).packages[0].sha256 == "a" * 64


async def test_a_lock_file_at_a_url(node: Start, channel_server: ChannelServer, tmp_path: Path) -> None:
    one = await node()
    solved = await one.pin(asked("samtools=1.17"))
    files = tmp_path / "files"
    files.mkdir()
    channel_server.channels = {**channel_server.channels, "files": files}
    lines = "\n".join(f"{package.url}#{package.md5}" for package in solved.packages)
    (files / "env.lock").write_text(f"@EXPLICIT\n{lines}\n")
    lock = await one.pin(asked("bwa=0.7.17", lock_location=f"{channel_server.url}/files/env.lock"))
    assert set(solved.packages) < set(lock.packages)
    assert "bwa" in versions(lock)
    (files / "environment.yml").write_text(
        "channels: [lab]\ndependencies: [bwa=0.7.17]\nvariables: {A: b}\nprefix: /x\n"
    )
    lock = await one.pin(asked(lock_location=f"{channel_server.url}/files/environment.yml"))
    assert "bwa" in versions(lock)
    assert any("variables" in line for line in one.lines)
    assert any("note: prefix is not used" in line for line in one.lines)


def test_pip_is_added_for_a_file_at_a_url_as_for_one_inline() -> None:
    wanted = asked(lock_location="https://x.example/environment.yml")
    assert "pip" in fetch._joined(wanted, Environment(("python",), pip=("six",))).specs
    assert "pip==24" in fetch._joined(wanted, Environment(("pip==24",), pip=("six",))).specs
    assert "pip" not in fetch._joined(wanted, Environment(("pip==24",), pip=("six",))).specs


async def test_what_is_no_lock_file(
    node: Start, channel_server: ChannelServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = await node()
    files = tmp_path / "files"
    files.mkdir()
    channel_server.channels = {**channel_server.channels, "files": files}
    with pytest.raises(NotFound):
        await one.pin(asked(lock_location=f"{channel_server.url}/files/none.lock"))
    (files / "binary.lock").write_bytes(base64.b64decode("/9j/4AAQSkZJRg=="))
    with pytest.raises(InvalidRequest, match="is no text"):
        await one.pin(asked(lock_location=f"{channel_server.url}/files/binary.lock"))
    with pytest.raises(InvalidRequest, match="is not an http or https URL"):
        await one.pin(asked(lock_location=(files / "binary.lock").as_uri()))
    monkeypatch.setattr(fetch, "SIZE_LIMIT", 1000)
    (files / "large.lock").write_text("#" * 2000)
    with pytest.raises(TooLarge):
        await one.pin(asked(lock_location=f"{channel_server.url}/files/large.lock"))


# -- pip ---------------------------------------------------------------------------------------------------------------


async def test_pip_is_told_what_conda_has(node: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    one = await node()
    calls: list[PipRequest] = []
    wheel = Wheel("https://wheels.test/cowsay-6.1-py3-none-any.whl", "b" * 64)

    async def resolve(_: PipResolver, request: PipRequest, _report: object) -> tuple[Wheel, ...]:
        calls.append(request)
        return (wheel,)

    monkeypatch.setattr(PipResolver, "resolve", resolve)
    lock = await one.pin(asked("labtool", "python", pip=("cowsay==6.1",)))
    assert lock.wheels == (wheel,)
    (request,) = calls
    assert request.requirements == ("cowsay==6.1",)
    assert request.python == versions(lock)["python"]
    assert (request.platform, request.glibc) == (AMD64, "2.39")
    assert request.present["labtool"] == versions(lock)["labtool"]
    assert "python" not in request.present
    await one.pin(asked(locked=lock.packages, pip=("cowsay==6.1",)))
    assert calls[1].present == request.present
    assert calls[1].python == request.python
