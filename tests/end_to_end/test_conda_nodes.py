"""The first solve is the lock: nodes that share records agree while the channel moves, and so do Monday and Friday."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lab import conda_channel, conda_oracle
from lab.conda_asks import CHANNEL, CondaSite, ask, digest, done, files, layers, made
from lab.conda_catalogue import GAP
from lab.conda_packages import Package, text
from lab.daemon import Daemon

pytestmark = pytest.mark.registry

NEWER = Package("moves", "2.0", files={"share/moves": text("2.0\n")}, timestamp=1_700_000_100_000)


@pytest.fixture
def moving(own_site: CondaSite, channel: Path, tmp_path: Path) -> Path:
    """Return the directory of the channel that is served, to change."""
    copied = conda_channel.copy(channel, tmp_path / "moving")
    own_site.server.channels[CHANNEL] = copied
    return copied


def versions(node: Daemon, name: str) -> list[str]:
    """Return the records of `moves` in an image."""
    return sorted(path.rpartition("/")[2] for path in files(layers(node, name)) if "conda-meta/moves-" in path)


def test_nodes_agree_while_the_channel_moves(
    start_daemon: Callable[..., Daemon], own_site: CondaSite, moving: Path, tmp_path: Path
) -> None:
    settings = own_site.settings(repodata_ttl=0)
    shared = {"WAVELET_RECORDS_DIRECTORY": tmp_path / "records"}
    one = start_daemon(tmp_path / "one", settings=settings, **shared)
    first = made(one, "moves")
    expected = digest(one, first)
    conda_channel.add(moving, NEWER)
    two = start_daemon(tmp_path / "two", settings=settings, **shared)
    second = made(two, "moves")
    assert second.partition("/")[2] == first.partition("/")[2]
    assert digest(two, second) == expected
    assert versions(two, second) == ["moves-1.0-h0_0.json"]
    # Asked of the one, pulled from the other, which has never heard of it.
    later = made(one, "moves", "which")
    assert digest(two, later.replace(one.authority, two.authority)) == digest(one, later)
    assert versions(two, later.replace(one.authority, two.authority)) == ["moves-2.0-h0_0.json"]
    alone = start_daemon(tmp_path / "alone", settings=settings)
    apart = made(alone, "moves")
    assert digest(alone, apart) != expected
    assert versions(alone, apart) == ["moves-2.0-h0_0.json"]


def test_a_shared_directory_does_not_hold_up_new_requests(
    start_daemon: Callable[..., Daemon], conda_site: CondaSite, tmp_path: Path
) -> None:
    node = start_daemon(settings=conda_site.settings(), WAVELET_RECORDS_DIRECTORY=tmp_path / "records")
    made(node, "samtools=1.17")
    began = time.monotonic()
    made(node, "samtools=1.17", "which")
    assert time.monotonic() - began < 3.0, "for so long a name that no node has recorded is looked for"


def test_a_daemon_that_starts_again_keeps_its_locks(
    start_daemon: Callable[..., Daemon], own_site: CondaSite, moving: Path
) -> None:
    node = start_daemon(settings=own_site.settings(repodata_ttl=0))
    name = made(node, "moves")
    expected, made_of = digest(node, name), len(own_site.server.requests)
    node.stop()
    conda_channel.add(moving, NEWER)
    node.start()
    assert digest(node, name) == expected
    answer = ask(node, "moves")
    assert answer["targetImage"] == name
    assert answer["succeeded"] is True
    assert digest(node, name) == expected
    assert not [seen.path for seen in own_site.server.requests[made_of:] if seen.path.endswith(".conda")]


def test_a_lock_is_renewed_where_that_is_asked_for(
    start_daemon: Callable[..., Daemon], own_site: CondaSite, moving: Path
) -> None:
    node = start_daemon(settings=own_site.settings())
    name = made(node, "moves")
    conda_channel.add(moving, NEWER)
    assert versions(node, made(node, "moves")) == ["moves-1.0-h0_0.json"]
    answer = ask(node, "moves", path="/v1alpha2/container?refresh=true")
    assert answer["targetImage"] != name
    assert done(node, answer["requestId"])["succeeded"] is True
    assert versions(node, answer["targetImage"]) == ["moves-2.0-h0_0.json"]
    log = node.get(f"/v1alpha1/builds/{answer['buildId']}/logs").body.decode()
    assert "this is a new name" in log
    assert made(node, "moves") == answer["targetImage"]
    assert versions(node, name) == ["moves-1.0-h0_0.json"]


def test_a_node_that_dies_while_it_makes(start_daemon: Callable[..., Daemon], own_site: CondaSite) -> None:
    node = start_daemon(settings=own_site.settings())
    own_site.server.fault(r"samtools.*\.conda", stall=100_000)
    answer = ask(node, "samtools=1.17", "lab-report")
    node.kill()
    own_site.server.clear_faults()
    node.start()
    assert done(node, answer["requestId"])["succeeded"] is True
    found = files(layers(node, answer["targetImage"]))
    assert found["opt/conda/share/samtools/version.txt"] == b"1.17\n"


def test_as_of_a_date(conda_node: Daemon) -> None:
    day = GAP.partition("T")[0]
    name = f"{conda_node.authority}/conda/samtools/bwa/date--{day}:latest"
    found = files(layers(conda_node, name))
    assert found["opt/conda/share/samtools/version.txt"] == b"1.17\n"
    assert found["opt/conda/share/bwa/version.txt"] == b"0.7.17\n"


@pytest.mark.timeout(90)
def test_the_same_files_as_rattler_installs(
    conda_node: Daemon, conda_site: CondaSite, channel: Path, tmp_path: Path
) -> None:
    specs = ["python", "meta", "labext", "clobber-a", "clobber-b", "oddnames", "symlinks", "hardlinks", "prefixes"]
    name = made(conda_node, *specs)
    urls = conda_oracle.solve([conda_site.server.channel(CHANNEL)], specs)
    installed = conda_oracle.install(conda_oracle.archives(channel, urls), tmp_path / "oracle")
    base = len(layers(conda_node, made(conda_node, "empty"))) - 2
    found = conda_oracle.tree_of_layers(layers(conda_node, name)[base:])
    assert conda_oracle.differences(conda_oracle.tree_of(installed), found, allowed=r"^etc/wavelet") == []
