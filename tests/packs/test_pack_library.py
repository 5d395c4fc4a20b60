"""The library of packs: built as they change, kept over a restart, and the last good version where one is broken."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from lab.certificates import Authority
from wavelet.config import Settings
from wavelet.config.site import Packs
from wavelet.errors import BlobNotFound, UpstreamUnreachable, WaitExpired
from wavelet.packs import library as library_module
from wavelet.packs.building import Fetched
from wavelet.packs.directories import find_packs, watched_files
from wavelet.packs.kept import PackFiles
from wavelet.packs.library import PackLibrary
from wavelet.packs.model import Pack, PackPending, PackRefused
from wavelet.packs.spec import PackSpec


class Here:
    """Worker processes, in threads of this one; how often they were asked."""

    def __init__(self) -> None:
        self.built = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def run(self, function: Callable[..., Any], *arguments: object) -> Any:
        self.built += 1
        await self.gate.wait()
        return await asyncio.to_thread(function, *arguments)


class Nothing:
    """A fetcher for packs that need none; `failure` is raised for others."""

    failure: Exception | None = None

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.gate.set()

    async def fetch(self, spec: PackSpec, stack: AsyncExitStack) -> dict[int, list[Fetched]]:
        if not spec.is_offline:
            await self.gate.wait()
            if self.failure is not None:
                raise self.failure
        return {}


def put(path: Path, text: str) -> None:
    """Write a file whole: these tests do not wait until one that is being written is quiet."""
    aside = path.parents[2] / "aside"
    aside.write_text(text)
    aside.rename(path)


class Site:
    """A node with packs."""

    def __init__(self, directory: Path) -> None:
        self.packs, self.shipped, self.state = directory / "packs", directory / "shipped", directory / "state"
        self.packs.mkdir()
        self.shipped.mkdir()
        self.workers, self.fetching = Here(), Nothing()

    def settings(self, keep: float = 3600.0) -> Settings:
        return Settings(state=str(self.state), packs=Packs(directory=str(self.packs), keep=keep))

    def write(self, name: str, text: str = "", document: str = "", *, shipped: bool = False) -> Path:
        directory = (self.shipped if shipped else self.packs) / name
        (directory / "files").mkdir(parents=True, exist_ok=True)
        put(directory / "files/text", text)
        put(directory / "pack.yaml", document or "layers: [{directory: files}]")
        return directory

    @contextlib.asynccontextmanager
    async def running(self, keep: float = 3600.0) -> AsyncIterator[PackLibrary]:
        files = PackFiles(self.state / "packs")
        library = PackLibrary(self.settings(keep), files, self.workers, self.fetching, self.shipped)
        task = asyncio.create_task(library.run())
        try:
            yield library
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
async def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.setattr("wavelet.host.watch.QUIET", 0.02)
    return Site(tmp_path)


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(15):
        while not true():
            await asyncio.sleep(0.01)


def version(library: PackLibrary, name: str) -> str:
    try:
        return library.get(name).version
    except PackRefused as refused:
        return refused.message


async def test_a_pack_is_built_and_a_restart_builds_nothing(site: Site) -> None:
    site.write("trace", "one", "{layers: [{directory: files, architecture: arm64}], env: {A: b}, version: '1.2'}")
    async with site.running() as library:
        await library.settled(["trace"])
        pack = library.get("trace")
        (layer,) = pack.layers
        assert pack == Pack("trace", "1.2", (), ("A=b",), (layer,), frozenset({"arm64"}))
        file = f"{layer.layer.digest.hex[:32]}.linux_arm64.tar.gz"
        assert layer.layer.location == f"pack:trace@1.2/{file}"
        assert layer.paths == {"text"}
        assert library.layer("trace@1.2", file) == layer.layer
        path = await library.file(layer.layer.location, layer.layer.digest)
        assert path.stat().st_size == layer.layer.size
        assert path.stat().st_mode & 0o077 == 0 or site.state.joinpath("packs").stat().st_mode & 0o077 == 0
    assert site.workers.built == 1
    async with site.running() as library:
        await library.settled(["trace"])
        assert library.get("trace") == pack
        assert await library.file(layer.layer.location, layer.layer.digest) == path
        await library.settled()
    assert site.workers.built == 1


async def test_a_damaged_layer_is_built_anew(site: Site) -> None:
    site.write("trace", "one")
    async with site.running() as library:
        await library.settled(["trace"])
        (layer,) = library.get("trace").layers
        path = await library.file(layer.layer.location, layer.layer.digest)
        data = path.read_bytes()
    path.write_bytes(data[:-1] + b"x")
    async with site.running() as library:
        await library.settled(["trace"])
        await until(lambda: path.is_file() and path.read_bytes() == data)
    assert site.workers.built == 2


async def test_a_broken_pack_leaves_the_last_good_one(site: Site) -> None:
    directory = site.write("trace", "one")
    async with site.running() as library:
        await library.settled(["trace"])
        first = library.get("trace")
        put(directory / "pack.yaml", "layer: []")
        await until(lambda: library.problems)
        assert library.problems == ["packs/trace/pack.yaml: unknown key 'layer'; layers is meant?"]
        assert library.get("trace") == first
        (listed,) = library.listing()
        assert (listed.pack, listed.problem) == (first, library.problems[0])
        site.write("trace", "two")
        await until(lambda: version(library, "trace") != first.version)
        assert library.problems == []
        second = library.get("trace")
        assert library.get("trace", first.version) == first
        assert [each.pack for each in library.listing()] == [second, first]
        site.write("trace", "one")  # what was built before is not built again, but its time is another
        await until(lambda: version(library, "trace") == first.version)
        assert [each.pack for each in library.listing()] == [first, second]


async def test_versions_are_kept_for_a_while(site: Site) -> None:
    site.write("trace", "one")
    async with site.running(keep=0.0) as library:
        await library.settled(["trace"])
        first = library.get("trace")
        (layer,) = first.layers
        path = await library.file(layer.layer.location, layer.layer.digest)
        site.write("trace", "two")
        await until(lambda: version(library, "trace") != first.version)
        await until(lambda: not path.exists())
        with pytest.raises(PackRefused, match=f"this node has no version '{first.version}' of the pack trace; it has "):
            library.get("trace", first.version)
        with pytest.raises(BlobNotFound, match=f"its version {first.version}, which this node does not have"):
            await library.file(layer.layer.location, layer.layer.digest)


async def test_a_pack_that_is_taken_away(site: Site) -> None:
    directory = site.write("trace", "one")
    site.write("other", "one")
    async with site.running() as library:
        await library.settled(["trace", "other"])
        first = library.get("trace")
        directory.rename(site.packs / ".trace")
        await until(lambda: version(library, "trace") != first.version)
        with pytest.raises(PackRefused, match="there is no pack 'trace' on this node; it has other"):
            library.get("trace")
        assert library.get("trace", first.version) == first
        with pytest.raises(PackRefused, match="there is no pack 'othr' on this node; other is meant"):
            library.get("othr")
        with pytest.raises(BlobNotFound, match="it has no such pack"):
            await library.file(f"pack:none@1/{'a' * 32}.tar.gz", first.layers[0].layer.digest.of(b""))


async def test_a_sites_pack_stands_in_for_the_shipped_one(site: Site) -> None:
    site.write("trace", "shipped", shipped=True)
    async with site.running() as library:
        await library.settled(["trace"])
        shipped = library.get("trace")
        directory = site.write("trace", "the site's")
        await until(lambda: version(library, "trace") != shipped.version)
        assert [each.shipped for each in library.listing()] == [False, True]
        put(directory / "pack.yaml", "{")
        await until(lambda: library.problems)
        assert library.get("trace") != shipped


@pytest.mark.parametrize(
    ("change", "sentence", "mend"),
    [
        (lambda each: (each / "files/text").chmod(0o664), "can be written by its group", "files/text"),
        (lambda each: each.chmod(0o777), "can be written by anybody", ""),
        (lambda each: (each / "pack.yaml").chmod(0o666), "pack.yaml can be written by anybody", "pack.yaml"),
    ],
)
async def test_what_others_can_write_is_refused(
    site: Site, change: Callable[[Path], None], sentence: str, mend: str
) -> None:
    directory = site.write("trace")
    change(directory)
    async with site.running() as library:
        await library.settled(["trace"])
        (problem,) = library.problems
        assert sentence in problem
        assert "run: chmod g" in problem
        with pytest.raises(PackRefused, match="the pack trace cannot be used: "):
            library.get("trace")
        (directory / mend).chmod(0o755)
        await until(lambda: not library.problems)
        library.get("trace")


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda packs: (packs / "empty").mkdir(), "packs/empty/pack.yaml: is not there"),
        (lambda packs: (packs / "empty/pack.yaml").mkdir(parents=True), "cannot be read: it is a directory"),
        (lambda packs: _write(packs / "empty/pack.yaml", b"\xff"), "packs/empty/pack.yaml: is not UTF-8"),
        (lambda packs: _write(packs / "empty/pack.yaml", b"a" * 2_000_000), "more than 1048576 bytes"),
        (lambda packs: _write(packs / "empty/pack.yaml", b"name: trace"), "empty/pack.yaml: name: "),
        (lambda packs: _write(packs / "empty/pack.yaml", b"layers: [{directory: x}]"), "there is no 'x' in the pack"),
    ],
)
async def test_what_is_no_pack_says_so_and_harms_no_other(
    site: Site, make: Callable[[Path], None], sentence: str
) -> None:
    site.write("a", document="{name: trace, layers: []}")
    make(site.packs)
    async with site.running() as library:
        await library.settled(["trace"])
        await library.settled()
        (problem,) = library.problems
        assert sentence in problem
        assert library.get("trace").layers == ()


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(data)


async def test_a_first_build_is_waited_for(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.write("trace")
    site.workers.gate.clear()
    async with site.running() as library:
        waiting = asyncio.create_task(library.settled(["trace"]))
        await until(lambda: site.workers.built)
        assert not waiting.done()
        with pytest.raises(PackPending, match="the pack trace is still being built; ask again"):
            library.get("trace")
        monkeypatch.setattr(library_module, "FIRST_BUILD", 0.01)
        with pytest.raises(WaitExpired, match="are still being built; ask again"):
            await library.settled(["trace"])
        site.workers.gate.set()
        await waiting
        library.get("trace")


async def test_a_pack_that_is_elsewhere_holds_up_no_other(site: Site) -> None:
    site.write("first", document=FETCHED)
    site.write("trace")
    site.fetching.gate.clear()
    async with site.running() as library:
        await library.settled(["trace"])
        library.get("trace")
        with pytest.raises(PackPending):
            library.get("first")
        site.fetching.gate.set()
        await library.settled()
        library.get("first")


async def test_what_a_crash_has_left_is_removed(site: Site) -> None:
    site.write("trace", "one")
    async with site.running() as library:
        await library.settled()
        first = library.get("trace")
    kept = site.state / "packs"
    there = sorted(kept.iterdir())
    (kept / "building-x").mkdir()
    (kept / "building-x/0-0").write_text("half")
    (kept / f"{'0' * 64}.tar.gz").write_text("nobody's")
    async with site.running() as library:
        await library.settled()
        assert library.get("trace") == first
    assert sorted(kept.iterdir()) == there


@pytest.mark.parametrize("index", ["", "{", '{"form": 99, "packs": []}', '{"form": 1, "packs": [{"name": 1}]}'])
async def test_an_index_that_cannot_be_read(site: Site, index: str) -> None:
    site.write("trace", "one")
    (site.state / "packs").mkdir(parents=True)
    (site.state / "packs/index.json").write_text(index)
    async with site.running() as library:
        await library.settled()
        (layer,) = library.get("trace").layers
    async with site.running() as library:
        await library.settled()
        assert (await library.file(layer.layer.location, layer.layer.digest)).is_file()
    assert site.workers.built == 1


async def test_a_directory_that_cannot_be_read(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library_module, "AGAIN", 0.05)
    site.write("trace", "one")
    async with site.running() as library:
        await library.settled()
        first = library.get("trace")
        find = library_module.find_packs
        monkeypatch.setattr(library_module, "find_packs", Mock(side_effect=OSError(errno.EIO, os.strerror(errno.EIO))))
        site.write("other")
        await until(lambda: f"{site.packs}: Input/output error" in library.problems)  # a look may be under way
        assert library.get("trace") == first
        monkeypatch.setattr(library_module, "find_packs", find)
        await until(lambda: not library.problems)
        await library.settled(["other"])
        library.get("other")


async def test_a_defect_is_not_the_end(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library_module, "AGAIN", 0.05)
    find = library_module.find_packs
    monkeypatch.setattr(library_module, "find_packs", lambda *_: 1 / 0)
    site.write("trace")
    async with site.running() as library:
        await library.settled()
        monkeypatch.setattr(library_module, "find_packs", find)
        await until(library.listing)


async def test_what_cannot_be_fetched_now_is_tried_again(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library_module, "AGAIN", 0.05)
    site.write("trace", document=FETCHED)
    site.fetching.failure = UpstreamUnreachable("x.example does not answer")
    async with site.running() as library:
        await library.settled(["trace"])
        assert library.problems == ["x.example does not answer"]
        site.fetching.failure = None
        await until(lambda: not library.problems)
        assert library.get("trace").layers == ()


async def test_no_directory_at_all(site: Site) -> None:
    site.packs.rmdir()
    async with site.running() as library:
        await library.settled(["trace"])
        assert library.listing() == []
        with pytest.raises(PackRefused, match="there is no pack 'trace' on this node; it has none"):
            library.get("trace")
        site.packs.mkdir()
        site.write("trace")
        await until(library.listing)


async def test_the_sites_certificates_are_in_use_once_there_are_any(site: Site, tmp_path: Path) -> None:
    site.write("ca", document="certificates: {directory: site}", shipped=True)
    directory = tmp_path / "certificates.d"
    async with site.running() as library:
        await library.settled()
        [listed] = library.listing()
        assert listed.unused == f"not in use: put the site's certificates as PEM files into {directory}"
        assert library.problems == []
        assert version(library, "ca") == f"the pack ca cannot be used: {listed.unused}"
        directory.mkdir()
        pem = Authority(tmp_path, "one").certificate.read_text()
        put(directory / "one.pem", pem)
        await until(lambda: any(each.pack for each in library.listing()))
        first = library.get("ca")
        assert [layer.paths for layer in first.layers] == [{"usr/local/share/wavelet/ca/one.pem"}]
        put(directory / "two.crt", pem + "-----BEGIN CERTIFICATE-----\n")
        await until(lambda: library.problems)
        assert "two.crt: 1 of its entries are not certificates" in library.problems[0]
        assert library.get("ca") == first
        for name in ("one.pem", "two.crt"):
            (directory / name).unlink()
        await until(lambda: version(library, "ca").endswith(str(directory)))
        assert library.get("ca", first.version) == first
    assert site.workers.built == 2


def test_what_others_could_have_written_is_not_read(site: Site, tmp_path: Path) -> None:
    """Messages tell of what is in it."""
    (tmp_path / "secret").write_text("password-of-root: x")
    directory = site.write("trace")
    (directory / "pack.yaml").unlink()
    (directory / "pack.yaml").symlink_to(tmp_path / "secret")
    [found] = find_packs(site.packs, site.shipped)
    assert found.problem == f"packs/trace/pack.yaml: leads out of the directory of the pack, to {tmp_path / 'secret'}"
    (tmp_path / "secret").rename(directory / "secret")
    (directory / "pack.yaml").unlink()
    (directory / "pack.yaml").symlink_to("secret")
    assert "password-of-root" in find_packs(site.packs, site.shipped)[0].problem
    directory.chmod(0o777)
    assert "can be written by anybody" in find_packs(site.packs, site.shipped)[0].problem
    directory.chmod(0o755)
    (directory / "secret").rename(tmp_path / "secret")
    (directory / "secret").symlink_to("pack.yaml")
    assert "Too many levels of symbolic links" in find_packs(site.packs, site.shipped)[0].problem


class Stalling(Nothing):
    """A fetcher for which some packs never end; `gate` lets go of them."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.fetched: list[str] = []

    async def fetch(self, spec: PackSpec, stack: AsyncExitStack) -> dict[int, list[Fetched]]:
        self.fetched.append(spec.name)
        stack.callback(self.fetched.append, f"-{spec.name}")
        await self.gate.wait()
        return {}


FETCHED = "layers: [{image: 'x.example/y@sha256:" + "0" * 64 + "'}]"


async def test_what_is_fetched_slowly_holds_up_no_other_pack(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library_module, "FIRST_FETCH", 0.01)
    site.fetching = fetching = Stalling()
    slow = site.write("a-slow", document=FETCHED)
    directory = site.write("trace", "one")
    async with site.running() as library:
        await library.settled()
        first = library.get("trace")
        assert [(each.name, each.unused) for each in library.listing()] == [
            ("a-slow", "not in use yet: it is being fetched"),
            ("trace", ""),
        ]
        waiting = asyncio.create_task(library.settled(["a-slow"]))
        put(directory / "files/text", "two")
        await until(lambda: version(library, "trace") != first.version)
        assert not waiting.done()
        fetching.gate.set()
        await waiting
        assert library.get("a-slow").layers == ()
        assert fetching.fetched == ["a-slow", "-a-slow"]
        fetching.gate.clear()
        put(slow / "pack.yaml", "{env: {A: b}, " + FETCHED + "}")
        await until(lambda: len(fetching.fetched) == 3)
        put(slow / "pack.yaml", "{env: {A: c}, " + FETCHED + "}")  # what was begun for what was there before ends
        await until(lambda: len(fetching.fetched) == 5)
        slow.rename(site.packs / ".slow")
        await until(lambda: len(fetching.fetched) == 6)
    assert fetching.fetched == ["a-slow", "-a-slow"] * 3


async def test_an_error_of_our_own_is_told_and_harms_no_other(site: Site) -> None:
    site.write("a", document=FETCHED)
    site.write("trace")
    site.fetching.failure = RuntimeError("a defect")
    async with site.running() as library:
        await library.settled(["a", "trace"])
        assert library.get("trace")
        (problem,) = library.problems
        assert "packs/a: wavelet has a defect; its log says more under the error id" in problem


@pytest.mark.parametrize("damage", ["truncate", "delete", "told"])
async def test_a_layer_that_is_damaged_meanwhile_is_built_again(site: Site, damage: str) -> None:
    site.write("trace", "one")
    async with site.running() as library:
        await library.settled(["trace"])
        (layer,) = library.get("trace").layers
        location, digest = layer.layer.location, layer.layer.digest
        path = await library.file(location, digest)
        data = path.read_bytes()
        if damage == "truncate":
            path.write_bytes(data[:10])
        elif damage == "delete":
            path.unlink()
        else:
            path.write_bytes(data[:-1] + b"x")
            library.lost(digest)
        with pytest.raises(WaitExpired, match="is damaged on this node, and is built again; ask again"):
            await library.file(location, digest)
        await until(lambda: library.layer_file(digest))
        assert path.read_bytes() == data


async def test_a_file_that_is_replaced_by_one_of_the_same_time_is_seen(site: Site) -> None:
    text = site.write("trace", "one") / "files/text"
    os.utime(text, (1, 1))
    async with site.running() as library:
        await library.settled(["trace"])
        first = library.get("trace")
        aside = site.packs.parent / "aside"
        aside.write_text("two")
        os.utime(aside, (1, 1))
        aside.rename(text)
        await until(lambda: version(library, "trace") != first.version)


async def test_a_pack_that_a_link_leads_to_is_watched(site: Site, tmp_path: Path) -> None:
    directory = site.write("trace", "one").rename(tmp_path / "elsewhere")
    (site.packs / "trace").symlink_to(directory)
    async with site.running() as library:
        await library.settled(["trace"])
        first = library.get("trace")
        put(directory / "files/text", "two")
        await until(lambda: version(library, "trace") != first.version)


async def test_a_pack_that_is_too_deep_leaves_others_watched(site: Site) -> None:
    (site.write("a") / Path(*["d"] * 300)).mkdir(parents=True)
    directory = site.write("trace", "one")
    async with site.running() as library:
        await library.settled(["trace"])
        first = library.get("trace")
        put(directory / "files/text", "two")
        await until(lambda: version(library, "trace") != first.version)


async def test_names_that_are_not_utf8_are_told_and_harm_nothing(site: Site) -> None:
    site.write("b", document="name: b\nlayers: [{files: {/a: 'files'}}]")
    strange = Path(os.fsdecode(os.fsencode(site.packs) + b"/caf\xe9"))
    strange.mkdir()
    (strange / "pack.yaml").write_text("name: cafe")
    file = Path(os.fsdecode(os.fsencode(site.write("trace")) + b"/\xff"))
    file.touch()
    file.chmod(0o666)
    async with site.running() as library:
        await library.settled()
        said = [text for each in library.listing() for text in (each.name, each.problem, each.directory)]
        assert "\n".join(said).encode()
        assert "packs/caf?/pack.yaml: the name of its directory is not UTF-8; rename it" in library.problems


@pytest.mark.parametrize(
    ("packs", "used", "problems"),
    [
        ({"a": "name: b", "b": "name: b"}, "b", {"a": "a/pack.yaml: name: "}),
        ({"a": "name: b", "c": "name: b"}, "a", {"c": "c/pack.yaml: name: "}),
        ({"b": "layer: []", "c": "name: b"}, "c", {"b": "b/pack.yaml: unknown key"}),
        ({"a": "name: b", "b": "name: b", "c": "name: a"}, "b", {"/a": "a/pack.yaml: name: "}),
    ],
)
def test_of_two_packs_of_one_name_a_good_one_stays_in_use(
    site: Site, packs: dict[str, str], used: str, problems: dict[str, str]
) -> None:
    for directory, document in packs.items():
        site.write(directory, document=document)
    found = {each.name: each for each in find_packs(site.packs, site.shipped)}
    assert len(found) == len(packs)
    for name, problem in problems.items():
        (each,) = (each for each in found.values() if each.problem and f"/{each.directory.name}".endswith(name))
        assert problem in each.problem
    assert [each.directory.name for each in found.values() if each.spec and each.name == "b"] == [used]


async def test_of_a_large_pack_not_all_is_watched(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two hundred thousand files took longer to look at than a look may take, and no change was seen any more."""
    monkeypatch.setattr("wavelet.packs.directories.WATCHED_LIMIT", 20)
    directory = site.write("a")
    for number in range(100):
        (directory / f"files/{number}").touch()
    site.write("trace", "one")
    watched = list(watched_files([site.packs]))
    assert len(watched) < 60
    assert {directory / "pack.yaml", site.packs / "trace/files/text"} <= set(watched)
    async with site.running() as library:
        await library.settled()
        first = library.get("a")
        (directory / "files/text").write_text("x")
        os.utime(directory / "pack.yaml")
        await until(lambda: version(library, "a") != first.version)
