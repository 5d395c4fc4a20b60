"""The relay: index files by the store's rules, over real HTTP; and rattler's own gateway through it."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
import zstandard
from yarl import URL

from lab import conda_channel
from lab.conda_channel import ChannelServer
from lab.conda_packages import Package, text
from wavelet.config import Settings
from wavelet.errors import AccessRefused, NotFound, UpstreamBroken, UpstreamUnreachable
from wavelet.kinds.conda.channels import index_files, relay, shard_index
from wavelet.kinds.conda.channels.client import Channels
from wavelet.kinds.conda.channels.relay import Relay
from wavelet.store import content
from wavelet.store.content import ContentStore
from wavelet.store.database import Database

pytestmark = pytest.mark.process
"""Channels are made by rattler, in a process."""

PLAIN = "linux-64/repodata.json"
SHARDS = "linux-64/repodata_shards.msgpack.zst"
TOOL = Package("tool", version="1.0", files={"bin/tool": text("x")}, depends=("lib",))
LIB = Package("lib", version="2.0", noarch="generic", subdir="noarch", files={"share/lib": text("y")})
SOLVE = """
import asyncio, json, sys, tempfile
from rattler import Channel, MatchSpec, solve
from rattler.networking import Client, MirrorMiddleware
from rattler.repo_data import Gateway, SourceConfig

async def main():
    channel, through, sharded = sys.argv[1:4]
    client = Client([MirrorMiddleware({channel + "/": [through + "/"]})])
    cache = sys.argv[4]
    gateway = Gateway(cache, default_config=SourceConfig(sharded_enabled=sharded == "1"), client=client)
    try:
        found = await solve([Channel(channel)], [MatchSpec("tool")], gateway=gateway, platforms=["linux-64", "noarch"])
        print(json.dumps(sorted(record.url for record in found)))
    except Exception as error:
        print(json.dumps(str(error)))

asyncio.run(main())
"""


@pytest.fixture(autouse=True)
def apart(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep the files of whoever runs the tests out."""
    for name in ("CONDARC", "RATTLER_AUTH_FILE", "NETRC", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return conda_channel.make_channel(tmp_path_factory.mktemp("channel"), [TOOL, LIB])


@pytest.fixture
def channel(made: Path, tmp_path: Path) -> Path:
    return conda_channel.copy(made, tmp_path / "mine")


@pytest.fixture
def server(channel: Path) -> Iterator[ChannelServer]:
    with ChannelServer({"lab": channel}) as running:
        yield running


@dataclasses.dataclass
class Door:
    """A running relay, and a client of it."""

    relay: Relay
    store: ContentStore
    session: aiohttp.ClientSession

    async def get(self, url: str, method: str = "GET", **headers: str) -> tuple[int, bytes, Any]:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.session.request(method, self.relay.url_for(url), headers=named) as answer:
            return answer.status, await answer.read(), answer.headers


@pytest.fixture
async def opened(tmp_path: Path) -> AsyncIterator[Callable[..., Any]]:
    """Return a function that starts a relay; its arguments are settings of `conda`. A later one has the same store."""
    async with AsyncExitStack() as last:

        async def start(limit: int = 1 << 30, private: str = "when-local", **conda: Any) -> Door:
            await last.pop_all().aclose()
            document = {"conda": conda, "upstream": {"private_networks": private}, "store": {"limit": limit}}
            settings = msgspec.convert(document, Settings)
            channels = await last.enter_async_context(Channels(settings))
            database = Database(tmp_path / "node.db", content.SCHEMA + relay.SCHEMA, synchronous="NORMAL")
            last.callback(database.close)
            store = ContentStore(tmp_path, database, settings)
            last.push_async_callback(store.close)
            door = Relay(channels, store, database, settings)
            await door.start()
            last.push_async_callback(door.close)
            session = await last.enter_async_context(aiohttp.ClientSession(auto_decompress=False))
            return Door(door, store, session)

        yield start


async def solve(door: Door, channel: str, cache: Path, *, sharded: bool, official: str = "") -> Any:
    """Solve with rattler in a process of its own that can reach nothing but loopback; return its words if it fails."""
    arguments = [official or channel, door.relay.url_for(official or channel), str(int(sharded)), str(cache)]
    proxies = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9") | {"NO_PROXY": "127.0.0.1"}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", SOLVE, *arguments, stdout=asyncio.subprocess.PIPE, env={**os.environ, **proxies}
    )
    out, _ = await asyncio.wait_for(process.communicate(), 40)
    return json.loads(out)


def urls(channel: str) -> list[str]:
    return sorted((f"{channel}/linux-64/{TOOL.file_name}", f"{channel}/noarch/{LIB.file_name}"))


# -- by the store's rules ----------------------------------------------------------------------------------------------


async def test_an_index_is_asked_for_once_within_its_time(
    opened: Callable[..., Any], server: ChannelServer, channel: Path
) -> None:
    door = await opened()
    url = f"{server.channel()}/{PLAIN}"
    answers = await asyncio.gather(*(door.get(url) for _ in range(20)))
    data = (channel / PLAIN).read_bytes()
    assert {(status, body) for status, body, _ in answers} == {(200, data)}
    assert server.count("repodata.json") == 1
    door = await opened()  # started again
    assert (await door.get(url))[1] == data
    assert server.count("repodata.json") == 1


async def test_a_refresh_and_age_ask_again_with_validators(
    opened: Callable[..., Any], server: ChannelServer, channel: Path
) -> None:
    door = await opened()
    url = f"{server.channel()}/{PLAIN}"
    await door.get(url)
    door.relay.refresh()
    assert (await door.get(url))[0] == 200
    assert "if-none-match" in server.requests[-1].headers
    assert server.count("repodata.json") == 2
    await door.get(url)
    assert server.count("repodata.json") == 2
    (channel / PLAIN).write_text('{"info": {}, "packages": {}}')
    door = await opened(repodata_ttl=0)
    assert (await door.get(url))[1] == b'{"info": {}, "packages": {}}'


async def test_validators_of_the_relay(opened: Callable[..., Any], server: ChannelServer, channel: Path) -> None:
    door = await opened()
    url = f"{server.channel()}/{PLAIN}"
    _, data, headers = await door.get(url)
    assert headers["ETag"] == f'"{hashlib.sha256(data).hexdigest()}"'
    status, body, again = await door.get(url, If_None_Match=headers["ETag"])
    assert (status, body, again["ETag"], again["Cache-Control"]) == (304, b"", headers["ETag"], "no-cache")
    assert (await door.get(url, If_None_Match='"other"'))[0] == 200
    assert (await door.get(url, Range="bytes=5-"))[:2] == (200, data)


async def test_the_last_good_index_stands_in(
    opened: Callable[..., Any], server: ChannelServer, channel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_files, "REST", 0.0)
    door = await opened(repodata_ttl=0)
    url = f"{server.channel()}/{PLAIN}"
    data = (await door.get(url))[1]
    for fault in (
        {"status": 503},
        {"status": 500},
        {"status": 403},
        {"truncate": 5},
        {"body": b"<html>", "status": 200},
    ):
        (channel / PLAIN).write_text('{"moved": true}')
        wrong = server.fault("repodata", **fault)
        assert (await door.get(url))[:2] == (200, data), fault
        wrong.lift()
    server.off()
    assert (await door.get(url))[:2] == (200, data)
    assert door.relay.failure([server.channel()]) is None
    server.on()
    assert (await door.get(url))[1] == b'{"moved": true}'


async def test_a_silent_server_holds_nobody_up(
    opened: Callable[..., Any], server: ChannelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_files, "ANSWER_LIMIT", 0.2)
    door = await opened(repodata_ttl=0)
    url = f"{server.channel()}/{PLAIN}"
    data = (await door.get(url))[1]
    fault = server.fault("repodata", delay=20)
    async with asyncio.timeout(5):
        assert (await door.get(url))[1] == data
        assert (await door.get(url))[1] == data
    fault.lift()
    assert server.count("repodata.json") == 2  # it rests after the first


async def test_a_slow_transfer_holds_nobody_up_who_has_an_earlier_one(
    opened: Callable[..., Any], server: ChannelServer, channel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_files, "RENEWAL_LIMIT", 0.2)
    door = await opened(repodata_ttl=0)
    url = f"{server.channel()}/{PLAIN}"
    data = (await door.get(url))[1]
    new = b'{"packages": "' + b"x" * 100_000 + b'"}'
    (channel / PLAIN).write_bytes(new)
    slow = server.fault("repodata", rate=100_000.0)
    assert (await door.get(url))[1] == data
    slow.lift()
    async with asyncio.timeout(10):
        while (await door.get(url))[1] != new:
            await asyncio.sleep(0.1)


async def test_of_a_server_that_cannot_be_reached_nothing_known_is_asked(
    opened: Callable[..., Any], server: ChannelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    door = await opened(repodata_ttl=0)
    known = [f"{server.channel()}/{subdir}/repodata.json" for subdir in ("linux-64", "noarch")]
    known.append(f"{server.channel()}/linux-64/repodata.json.bz2")
    before = [(await door.get(url))[0] for url in known]
    server.off()
    assert [(await door.get(url))[0] for url in known] == before
    server.on()
    asked = len(server.requests)
    assert [(await door.get(url))[0] for url in known] == before
    assert (await door.get(f"{server.channel()}/noarch/repodata.json.zst", "HEAD"))[0] == 404
    assert len(server.requests) == asked
    door.relay.refresh()
    assert [(await door.get(url))[0] for url in known] == before
    assert len(server.requests) == asked + 3


async def test_what_is_not_there_is_remembered(opened: Callable[..., Any], server: ChannelServer) -> None:
    door = await opened()
    url = f"{server.channel()}/linux-64/repodata.json.bz2"
    for _ in range(3):
        assert (await door.get(url))[0] == 404
        assert (await door.get(url, "HEAD"))[0] == 404
    assert server.count("bz2") == 1
    server.off()
    door.relay.refresh()
    assert (await door.get(url))[0] == 404  # the earlier answer stands in
    assert door.relay.failure([server.channel()]) is None


async def test_a_look_is_no_transfer(opened: Callable[..., Any], server: ChannelServer) -> None:
    door = await opened()
    url = f"{server.channel()}/linux-64/repodata.json.zst"
    assert (await door.get(url, "HEAD"))[0] == 200
    assert door.store.find(content.Digest.of((await door.get(url))[1]), index_files.ORIGIN) is not None
    server.off()
    assert (await door.get(url, "HEAD"))[0] == 200
    assert (await door.get(f"{server.channel()}/linux-64/run_exports.json", "HEAD"))[0] == 404


async def test_why_there_is_none(opened: Callable[..., Any], server: ChannelServer) -> None:
    door = await opened()
    assert (await door.get(f"{server.channel('none')}/{PLAIN}"))[0] == 404
    failure = door.relay.failure([server.channel("none")])
    assert isinstance(failure, NotFound)
    assert server.channel("none") in failure.message
    # Fault E6: neither a channel whose address begins with that of another, nor what failed before, is to blame.
    assert (await door.get(f"{server.channel()}/label/typo/{PLAIN}"))[0] == 404
    assert door.relay.failure([server.channel()]) is None
    assert door.relay.failure([server.channel("none")], since=time.monotonic()) is None
    assert isinstance(door.relay.failure([f"{server.channel()}/label/typo"]), NotFound)
    server.off()
    url = f"{server.channel()}/{PLAIN}"
    assert (await door.get(url))[0] == 502
    assert isinstance(door.relay.failure([server.channel("none"), server.channel()]), UpstreamUnreachable)
    server.on()
    server.fault("repodata", times=1, status=200, body=b"<html>please log in</html>")
    assert (await door.get(url))[0] == 502
    assert isinstance(door.relay.failure([server.channel()]), UpstreamBroken)
    assert (await door.get(url))[0] == 200
    assert door.relay.failure([server.channel()]) is None


async def test_a_broken_transfer_is_begun_again(opened: Callable[..., Any], server: ChannelServer) -> None:
    door = await opened()
    server.fault("repodata", times=2, truncate=10)
    assert (await door.get(f"{server.channel()}/{PLAIN}"))[0] == 200
    assert list((door.store._directory.aside).iterdir()) == []


async def test_shards_are_verified_by_their_name_and_asked_for_once(
    opened: Callable[..., Any], server: ChannelServer, channel: Path
) -> None:
    shard = next((channel / "linux-64").rglob("[0-9a-f]" * 64 + ".msgpack.zst"))
    url = f"{server.channel()}/{shard.relative_to(channel)}"
    door = await opened(repodata_ttl=0)
    server.fault(shard.name, times=1, corrupt=3)
    assert (await door.get(url))[0] == 502
    assert isinstance(door.relay.failure([server.channel()]), UpstreamBroken)
    for _ in range(2):
        assert (await door.get(url))[1] == shard.read_bytes()
    server.off()
    door.relay.refresh()
    assert (await door.get(url))[1] == shard.read_bytes()


async def test_an_evicted_index_is_fetched_again(opened: Callable[..., Any], server: ChannelServer) -> None:
    door = await opened()
    url = f"{server.channel()}/{PLAIN}"
    data = (await door.get(url))[1]
    await door.store.room.evict([content.Digest.of(data)])
    assert (await door.get(url))[1] == data
    assert "if-none-match" not in server.requests[-1].headers
    await door.store.room.evict([content.Digest.of(data)])
    door.relay.expire()
    assert door.relay.files._rows == {}


async def test_the_store_can_be_too_small(opened: Callable[..., Any], server: ChannelServer) -> None:
    door = await opened(limit=10)
    assert (await door.get(f"{server.channel()}/{PLAIN}"))[0] == 507


# -- who gets what -----------------------------------------------------------------------------------------------------


async def test_the_door_opens_for_the_secret_and_for_index_files_alone(
    opened: Callable[..., Any], server: ChannelServer, channel: Path
) -> None:
    door = await opened()
    base = door.relay.url_for(server.channel())
    secret = door.relay._secret
    assert len(secret) >= 32
    for path in (
        base.replace(secret, "x" * len(secret)) + f"/{PLAIN}", base.replace(f"/{secret}", "") + f"/{PLAIN}",
        f"{base}/linux-64/{TOOL.file_name}", f"{base}/linux-64/", base.replace("/http/", "/file/") + f"/{PLAIN}",
        f"{base}/%2e%2e/{PLAIN}", base.replace("/http/", "/http/a:b@") + f"/{PLAIN}",
        base.partition(secret)[0], base.partition(secret)[0] + secret,
    ):  # fmt: skip
        async with door.session.get(URL(path, encoded=True)) as answer:
            assert answer.status == 404, path
    for method in ("POST", "DELETE", "PUT"):
        assert (await door.get(f"{server.channel()}/{PLAIN}", method))[0] == 404
    assert server.requests == []
    assert secret not in door.relay.scrub(f"error for ({base}/{PLAIN}) {secret}")
    assert f"({server.channel()}/{PLAIN})" in door.relay.scrub(f"error for ({base}/{PLAIN}) {secret}")


async def test_the_relay_keeps_to_the_allowed_channels_and_the_address_policy(
    opened: Callable[..., Any], server: ChannelServer
) -> None:
    door = await opened(allowed_channels=["conda-forge"])
    assert (await door.get(f"{server.channel()}/{PLAIN}"))[0] == 403
    assert isinstance(door.relay.failure([server.channel()]), AccessRefused)
    door = await opened(private="never")
    assert (await door.get(f"{server.channel()}/{PLAIN}"))[0] == 400
    assert server.requests == []


# -- the solver --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sharded", [True, False])
async def test_rattler_solves_through_it_also_when_the_channel_is_off(
    opened: Callable[..., Any], server: ChannelServer, channel: Path, tmp_path: Path, sharded: bool
) -> None:
    door = await opened(repodata_ttl=0)
    assert await solve(door, server.channel(), tmp_path / "one", sharded=sharded) == urls(server.channel())
    assert server.count("shards") == (2 + 2 if sharded else 0)
    # With its own cache, a second time: validators that it understands.
    assert await solve(door, server.channel(), tmp_path / "one", sharded=sharded) == urls(server.channel())
    server.off()
    assert await solve(door, server.channel(), tmp_path / "two", sharded=sharded) == urls(server.channel())
    door = await opened()
    assert await solve(door, server.channel(), tmp_path / "three", sharded=sharded) == urls(server.channel())


async def test_rattler_falls_back_to_a_plain_index(
    opened: Callable[..., Any], server: ChannelServer, channel: Path, tmp_path: Path
) -> None:
    for path in (*channel.rglob("*.zst"), *channel.rglob("*.bz2")):
        if "repodata" in path.name:
            path.unlink()
    door = await opened(repodata_ttl=0)
    assert await solve(door, server.channel(), tmp_path / "one", sharded=True) == urls(server.channel())
    server.off()
    assert await solve(door, server.channel(), tmp_path / "two", sharded=True) == urls(server.channel())


async def test_a_name_is_solved_from_a_mirror(
    opened: Callable[..., Any], server: ChannelServer, channel: Path, tmp_path: Path
) -> None:
    official = "https://conda.anaconda.org/lab"
    for mirror in (server.channel(), f"file://{channel}"):
        door = await opened(private="never", mirrors={"lab": [mirror]}, repodata_ttl=0)
        assert await solve(door, "", tmp_path / "one", sharded=True, official=official) == urls(official)


async def test_the_solvers_words_hold_no_secret(
    opened: Callable[..., Any], server: ChannelServer, tmp_path: Path
) -> None:
    door = await opened()
    server.off()
    words = await solve(door, server.channel(), tmp_path / "one", sharded=True)
    assert door.relay._secret in words
    assert door.relay._secret not in door.relay.scrub(words)
    assert isinstance(door.relay.failure([server.channel()]), UpstreamUnreachable)


# -- shards elsewhere --------------------------------------------------------------------------------------------------


def shard_index_of(channel: Path, subdir: str) -> dict[str, Any]:
    data = (channel / subdir / shard_index.NAME).read_bytes()
    found: dict[str, Any] = msgspec.msgpack.decode(zstandard.ZstdDecompressor().stream_reader(data).read())
    return found


def put_index(channel: Path, subdir: str, index: object) -> None:
    (channel / subdir / shard_index.NAME).write_bytes(zstandard.compress(msgspec.msgpack.encode(index)))


async def test_shards_on_another_server_come_through_the_relay_too(
    opened: Callable[..., Any], server: ChannelServer, channel: Path, tmp_path: Path
) -> None:
    with ChannelServer({"elsewhere": conda_channel.copy(channel, tmp_path / "copied")}) as other:
        for subdir in ("linux-64", "noarch"):
            index = shard_index_of(channel, subdir)
            where = str(index["info"]["shards_base_url"]).strip("./")
            for path in (channel / subdir / where).glob("[0-9a-f]*.msgpack.zst"):
                path.unlink()
            index["info"]["shards_base_url"] = f"{other.channel('elsewhere')}/{subdir}/{where}"
            put_index(channel, subdir, index)
        door = await opened(allowed_channels=[server.channel(), f"{other.url}/nothing"])
        assert await solve(door, server.channel(), tmp_path / "one", sharded=True) == urls(server.channel())
        assert other.requests
        assert all(seen.headers["user-agent"].startswith("wavelet/") for seen in other.requests)


@pytest.mark.parametrize(
    ("base", "becomes"),
    [
        ("./shards/", None),
        ("", None),
        ("https://h/x/linux-64/s/", None),
        ("/s/", "./.shards/https/h/s/"),
        ("../../s/", "./.shards/https/h/s/"),
        ("http://o:8/", "./.shards/http/o:8/"),
        ("https://o/a/b", "./.shards/https/o/a/b/"),
    ],
)
def test_where_an_index_says_its_shards_are(base: str, becomes: str | None) -> None:
    index = {"info": {"subdir": "linux-64", "base_url": "./", "shards_base_url": base}, "shards": {"a": b"\1" * 32}}
    changed = shard_index.localised(zstandard.compress(msgspec.msgpack.encode(index)), f"https://h/x/{SHARDS}")
    if becomes is None:
        assert changed is None
        return
    assert changed is not None
    found = msgspec.msgpack.decode(zstandard.decompress(changed))
    assert found["info"].pop("shards_base_url") == becomes
    index["info"].pop("shards_base_url")  # type: ignore[attr-defined]
    assert found == index


def test_a_shards_address_comes_back() -> None:
    shard = "f" * 64 + ".msgpack.zst"
    url = f"https://h/x/linux-64/.shards/http/o:8/a/{shard}"
    assert shard_index.origin_of(url) == (f"http://o:8/a/{shard}", "https://h/x/")
    assert shard_index.origin_of(f"https://h/x/linux-64/{shard}") == (f"https://h/x/linux-64/{shard}",) * 2


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        zstandard.compress(b"\xc1"),
        zstandard.compress(msgspec.msgpack.encode([])),
        zstandard.compress(msgspec.msgpack.encode({"info": 1})),
        zstandard.compress(msgspec.msgpack.encode({"info": {"shards_base_url": "ftp://x/"}})),
        zstandard.compress(msgspec.msgpack.encode({"info": {"shards_base_url": "https://a:b@x/"}})),
    ],
)
def test_what_is_no_index_of_shards(data: bytes) -> None:
    with pytest.raises(UpstreamBroken):
        shard_index.localised(data, f"https://h/x/{SHARDS}")
