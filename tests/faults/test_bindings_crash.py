"""Black box: two nodes share a directory, and one is killed around the moment at which names are bound."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import aiohttp
import pytest
from pulls import Broken, Client, Got, verify

from doubles.registry import Registry, small_layer
from lab import nextflow
from lab.daemon import Daemon
from wavelet.cluster.publish import TEMPORARY_SUFFIX
from wavelet.cluster.records import Lifetimes
from wavelet.cluster.shared_directory.bindings import SUFFIX
from wavelet.cluster.shared_directory.record_files import LEFTOVER_AGE
from wavelet.cluster.shared_directory.records import DirectoryRecords
from wavelet.kinds.table import FORMS
from wavelet.plan.tokens import well_formed
from wavelet.requests.request import PIN_WAIT

ROUNDS = int(os.environ.get("WAVELET_BINDING_ROUNDS", "3"))
NAMES = 6
"""Names that are bound around each kill."""

SLOW = PIN_WAIT + 0.4
"""Seconds that the registry takes to say what a tag is: the names are given before."""

ANSWERED_WITHIN = 30.0
LIFETIMES = Lifetimes(86400.0, 86400.0)


class Site:
    """Two nodes, what they were asked for, and what each name has answered."""

    def __init__(self, registry: Registry, shared: Path, clients: Sequence[Client], chance: random.Random) -> None:
        self.registry = registry
        self.shared = shared
        self.clients = clients
        self.chance = chance
        self.answered: dict[str, str] = {}
        self.seen: Counter[str] = Counter()
        self._pushed = 0

    def push(self, repositories: Sequence[str]) -> None:
        """Push an image to each, other than those before; the tag moves."""
        for repository in repositories:
            self._pushed += 1
            self.registry.add_image(repository, "1", [small_layer({"turn": str(self._pushed).encode()})])

    async def ask(self, client: Client, repository: str) -> str:
        """Return the name that a node gives for an image."""
        image = f"{self.registry.host}/{repository}:1"
        body = nextflow.body(containerImage=image, config={"env": ["A=1"]})
        got = await client.ask("POST", "/v1alpha2/container", json=body)
        assert got.status == 200, got.body
        return str(got.json()["targetImage"])

    async def pull(self, client: Client, name: str) -> None:
        """Pull a name until it answers, and compare that with all that it has answered."""
        end = time.monotonic() + ANSWERED_WITHIN
        while (got := await _manifest(client, name)).status != 200:
            assert got.status == 503, got.body
            assert time.monotonic() < end, got.body
            await asyncio.sleep(0.1)
        self._compare(name, got)

    async def pull_once(self, client: Client, name: str) -> None:
        """Pull a name from a node that may be killed meanwhile."""
        try:
            got = await _manifest(client, name)
        except Broken:
            return
        assert got.status in (200, 503), got.body
        if got.status == 200:
            self.seen["pulls answered before a kill"] += 1
            self._compare(name, got)

    def _compare(self, name: str, got: Got) -> None:
        digest = got.headers["Docker-Content-Digest"]
        verify(got, digest)
        assert self.answered.setdefault(name, digest) == digest, name

    def bound(self, names: Sequence[str]) -> int:
        """Return how many of the names are bound."""
        return sum((self.shared / token[:2] / f"{token}{SUFFIX}").exists() for token in map(_token, names))

    def files(self) -> list[Path]:
        """Return all files of records and bindings."""
        return [path for path in self.shared.glob("??/*") if path.name[0] == "." or well_formed(path.name[:32])]


async def _manifest(client: Client, name: str) -> Got:
    path = nextflow.manifest_path(name)
    return await client.ask("GET", path, headers={"Accept": "application/vnd.oci.image.manifest.v1+json"})


def _token(name: str) -> str:
    return name.split("/")[2]


@pytest.mark.process
@pytest.mark.timeout(60 + 20 * ROUNDS)
async def test_killed_around_a_binding_a_name_answers_one_digest(
    registry: Registry, session: aiohttp.ClientSession, start_daemon: Callable[..., Daemon], tmp_path: Path
) -> None:
    shared = tmp_path / "shared"
    settings = {"WAVELET_RECORDS_DIRECTORY": shared, "WAVELET_UPSTREAM_TAG_TTL": 0}
    nodes = [start_daemon(tmp_path / name, **settings) for name in ("one", "two")]
    chance = random.Random(int(os.environ.get("WAVELET_SEED", "11")))
    site = Site(registry, shared, [Client(session, node.url) for node in nodes], chance)
    for turn in range(ROUNDS):
        await _round(site, nodes, [f"lab/r{turn}n{number}" for number in range(NAMES)])
    assert site.seen["names given before a pin"] == ROUNDS * NAMES
    await _check_leftovers(site)
    for client in site.clients:
        for name in list(site.answered)[-4 * NAMES :]:
            await site.pull(client, name)
    assert all("Traceback" not in node.log() for node in nodes)
    print(f"\n{ROUNDS} rounds: {', '.join(f'{what} {count}' for what, count in sorted(site.seen.items()))}")


async def _round(site: Site, nodes: Sequence[Daemon], repositories: Sequence[str]) -> None:
    """Give names, move their tags, kill one of the nodes that bind them, and pull all from both."""
    chance = site.chance
    giver = chance.randrange(2)
    other, victim = 1 - giver, chance.randrange(2)
    site.push(repositories)
    site.registry.fault("/manifests/1$", delay=SLOW)
    names = await asyncio.gather(*(site.ask(site.clients[giver], repository) for repository in repositories))
    site.registry.clear_faults()
    site.seen["names given before a pin"] += NAMES - site.bound(names)
    site.push(repositories)
    # The giver goes on by itself, to what the tags were; whoever pulls from the other node has what they are.
    racing = chance.sample(names, chance.randrange(NAMES + 1)) if victim == giver else names
    pulls = [asyncio.create_task(_pull_later(site, site.clients[other], name)) for name in racing]
    await _moment(site, names)
    await asyncio.to_thread(nodes[victim].kill)
    await asyncio.gather(*pulls)
    bound = site.bound(names)
    site.seen["names bound at a kill"] += bound
    site.seen["kills with some of the names bound"] += 0 < bound < NAMES
    site.push(repositories)
    await asyncio.to_thread(nodes[victim].start)
    clients = chance.sample(site.clients, 2)
    await asyncio.gather(*(site.pull(clients[0], name) for name in names))
    site.push(repositories)
    await asyncio.gather(*(site.pull(client, name) for name in names for client in clients))
    assert site.bound(names) == NAMES


async def _pull_later(site: Site, client: Client, name: str) -> None:
    await asyncio.sleep(site.chance.uniform(0, SLOW - PIN_WAIT))
    await site.pull_once(client, name)


async def _moment(site: Site, names: Sequence[str]) -> None:
    """Wait for the moment of the kill: any at all, or one at which something is written for a binding."""
    if site.chance.random() < 0.4:
        await asyncio.sleep(site.chance.uniform(0, 2 * (SLOW - PIN_WAIT)))
        return
    places = {site.shared / _token(name)[:2] for name in names}
    wanted, end = site.chance.randrange(1, NAMES + 1), time.monotonic() + ANSWERED_WITHIN
    while time.monotonic() < end:
        written = [entry.name for place in places for entry in os.scandir(place)]
        begun = sum(name.endswith(TEMPORARY_SUFFIX) for name in written)
        bound = sum(name == f"{_token(each)}{SUFFIX}" for name in written for each in names)
        if bound + begun >= wanted:
            break
        await asyncio.sleep(0.001)
    await asyncio.sleep(site.chance.uniform(0, 0.01))


async def _check_leftovers(site: Site) -> None:
    """Check that nothing is beside records and bindings once what was begun is old, and that those all stay."""
    site.seen["unfinished files"] = sum(path.name.endswith(TEMPORARY_SUFFIX) for path in site.files())
    key = bytes(32)  # expiry reads no record that is within its lifetime
    records = DirectoryRecords(site.shared, key, FORMS, LIFETIMES, lambda: time.time() + 2 * LEFTOVER_AGE)
    try:
        await records.expire()
    finally:
        await records.close()
    expected = {each for name in site.answered for each in (_token(name), _token(name) + SUFFIX)}
    left = {path.name for path in site.files()}
    assert expected <= left
    # The records of decided names, by which equal requests get the name that was bound first, are records alone.
    assert all(well_formed(name) for name in left - expected)
