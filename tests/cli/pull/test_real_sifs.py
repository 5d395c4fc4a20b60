"""`wavelet pull --sif` and `--sif-dir` of a real daemon: for every kind of name that a pipeline may have."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import images, nextflow, oras, sif, sif_asks, trees
from lab.command import Wavelet, in_process
from lab.conda_channel import ChannelServer
from lab.conda_packages import Package
from lab.grpc_site import Site, running_site
from lab.registry import PASSWORDS
from wavelet.directory_trees import remove
from wavelet.image.reference import Digest

pytestmark = [pytest.mark.registry, pytest.mark.conda, pytest.mark.squashfs]

PUBLISHED = b"#!/usr/bin/env run-singularity\n\0SIF_MAGIC\x0001\x0002\0".ljust(100_000, b"s")


@pytest.fixture(scope="module")
def depot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChannelServer]:
    """Return a server of SIFs that others have made."""
    directory = tmp_path_factory.mktemp("depot")
    (directory / "bwa:0.7").write_bytes(PUBLISHED)
    with ChannelServer({"singularity": directory}) as server:
        yield server


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory, depot: ChannelServer) -> Iterator[Site]:
    """Return a daemon that may fetch from the depot."""
    sources = {"sif": {"sources": [depot.channel("singularity")]}}
    packages = (Package("samtools", "1.17"),)
    with running_site(tmp_path_factory.mktemp, packages, ["lab/secret"], lambda _: sources) as running:
        yield running


@pytest.fixture
def wavelet(node: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Wavelet:
    """Return a function that runs the command within this process, for that daemon."""
    monkeypatch.setenv("WAVELET_SOCKET", node.user.removeprefix("unix:"))
    return in_process(monkeypatch, capsys)


def test_a_file_is_what_the_registry_names(wavelet: Wavelet, node: Site, tmp_path: Path) -> None:
    file = tmp_path / "busybox.sif"
    said = wavelet("pull", "--sif", str(file), node.image, "-o", "json")
    (row,) = said.json()
    assert row["digest"] == Digest.of(file.read_bytes())
    assert row["digest"] == sif_asks.digest(f"{node.node.authority}/{node.image}")
    tree = sif.tree(file, sif.UNSQUASHFS, tmp_path)
    assert tree[b"bin/busybox"].kind == "file"
    assert b".singularity.d/runscript" in tree


def test_the_tree_of_the_file_and_the_one_that_is_unpacked(wavelet: Wavelet, node: Site, tmp_path: Path) -> None:
    name = "conda/samtools:1.17"
    assert wavelet("pull", "--sif", str(tmp_path / "a.sif"), name).code == 0
    assert wavelet("pull", "--unpack", str(tmp_path / "root"), name).code == 0
    mine = trees.read(tmp_path / "root")
    theirs = sif.tree(tmp_path / "a.sif", sif.UNSQUASHFS, tmp_path)
    assert mine
    assert [path for path in mine if path not in theirs] == []
    # What is beside is Apptainer's: its scripts and mount points, in the directories that they change.
    common = {path: entry for path, entry in theirs.items() if path in mine and entry.kind != "directory"}
    assert trees.differences({path: mine[path] for path in common}, common) == []


def test_all_that_pipelines_name_goes_into_a_directory_and_then_nobody_is_asked(
    wavelet: Wavelet, node: Site, depot: ChannelServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority, cache = node.node.authority, tmp_path / "cache"
    token = nextflow.ask(node.node, containerImage=node.image, config={"env": ["A=1"]})["targetImage"]
    frozen = wavelet("resolve", "-i", node.image, "--freeze").out.strip()
    (tmp_path / "tool.sif").write_bytes(PUBLISHED)
    oras.push(tmp_path / "tool.sif", f"{node.registry.host}/lab/tool:1")
    under_sif = nextflow.ask(node.node, path="/sif/v1alpha2/container", containerImage=node.image)["targetImage"]
    assert under_sif.startswith(f"http://{authority}/sif/")
    containers = [
        node.image, token, f"docker://{frozen}", f"{authority}/conda/samtools:1.17", under_sif,
        f"{depot.channel('singularity')}/bwa:0.7", f"oras://{node.registry.host}/lab/tool:1",
        f"{node.image}@{node.busybox.digest}", str(tmp_path / "tool.sif"),
    ]  # fmt: skip
    listed = json.dumps({"processes": [{"name": f"P{at}", "container": name} for at, name in enumerate(containers)]})
    said = wavelet("pull", "--sif-dir", str(cache), "-", stdin=listed)
    assert said.code == 0, said.err
    there = {path.name: path.read_bytes() for path in cache.iterdir() if path.is_file()}
    names = [name.partition("://")[2] or name for name in containers[:-1]]
    assert sorted(there) == sorted(
        name.removesuffix(".sif").replace("/", "-").replace(":", "-") + (".sif" if name.endswith(".sif") else ".img")
        for name in names
    )
    published = {name for name, data in there.items() if data == PUBLISHED}
    assert len(published) == 2, "what is a SIF already stays as it is"
    for name in there.keys() - published:
        assert sif.partition(cache / name).size > 0
    # The node's daemon is away, and so are the registry and the depot: no socket is named, and nobody is asked.
    monkeypatch.setenv("WAVELET_SOCKET", str(tmp_path / "absent.sock"))
    again = wavelet("pull", "--sif-dir", str(cache), "-", stdin=listed)
    assert (again.code, again.out) == (0, said.out)
    assert {path.name: path.read_bytes() for path in cache.iterdir() if path.is_file()} == there


def test_of_an_index_one_platform(wavelet: Wavelet, node: Site, tmp_path: Path) -> None:
    image = images.two_architectures(images.OCI)
    name = node.registry.push("lab/both", "1", image)
    for platform, member, end in zip(("amd64", "arm64"), image.members, ("amd64\n", "arm64\n"), strict=True):
        for asked in (name, f"{name.rpartition(':')[0]}@{image.digest}"):
            file = tmp_path / f"{platform}.sif"
            said = wavelet("pull", "--sif", str(file), asked, "--platform", f"linux/{platform}")
            assert said.code == 0, said.err
            root = sif.unpacked(file, tmp_path / "root")
            assert (root / "arch").read_text() == end
            remove(root)
        assert member.platform == f"linux/{platform}"


def test_an_image_that_is_not_everybodys(wavelet: Wavelet, node: Site, tmp_path: Path) -> None:
    name = f"{node.private.host}/lab/secret:1"
    refused = wavelet("pull", "--sif", str(tmp_path / "a.sif"), name)
    assert refused.code == 1
    assert f"{name}: refused: " in refused.err
    login = "login", node.private.host, "--username", "ann", "--password-stdin"
    assert wavelet(*login, stdin=PASSWORDS["ann"]).code == 0
    try:
        for goes in ("--sif", "--unpack", "--oci"):
            said = wavelet("pull", goes, str(tmp_path / goes), name)
            assert (said.code, said.out.startswith(name)) == (0, True), said.err
    finally:
        wavelet("logout", "--all")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("{registry}/lab/absent:1", "refused: {registry} has no image"),
        ("conda/absent:1", "refused: "),
        ("https://example.org/a.sif", "refused: "),
        ("127.0.0.1:1/lab/a:1", "upstream fails: "),
    ],
)
def test_why_there_is_none(wavelet: Wavelet, node: Site, tmp_path: Path, name: str, words: str) -> None:
    shown = name.format(registry=node.registry.host)
    said = wavelet("pull", "--sif", str(tmp_path / "a.sif"), shown)
    assert said.code == 1
    assert f"{shown}: {words.format(registry=node.registry.host)}" in said.err
    assert list(tmp_path.iterdir()) == []
