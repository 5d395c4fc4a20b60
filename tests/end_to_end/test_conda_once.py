"""However many ask at a time, an archive is fetched once and a layer made once; what is evicted is made again."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lab.conda_asks import CHANNEL, CondaSite, ask, build_log, digest, done, files, layers, made
from lab.conda_channel import make_channel
from lab.conda_packages import Noise, Package
from lab.daemon import Daemon

pytestmark = pytest.mark.registry

SPECS = ("samtools=1.17", "lab-report", "bwa=0.7.17")


def fetched(site: CondaSite) -> Counter[str]:
    """Count the archives that were asked for."""
    paths = (seen.path for seen in site.server.requests if seen.method == "GET")
    return Counter(path for path in paths if path.endswith((".conda", ".tar.bz2")))


def test_twenty_at_a_time(start_daemon: Callable[..., Daemon], own_site: CondaSite) -> None:
    node = start_daemon(settings=own_site.settings())
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: ask(node, *SPECS), range(20)))
    assert len({answer["targetImage"] for answer in answers}) == 1
    assert done(node, answers[0]["requestId"])["succeeded"] is True
    counts = fetched(own_site)
    assert len(counts) == 11
    assert set(counts.values()) == {1}, counts
    assert own_site.server.count("repodata") + own_site.server.count("shards") < 20
    log = build_log(node, answers[0]["buildId"])
    assert log.count("samtools-1.17-h0_0.conda: ") == 1


def test_different_environments_that_overlap(start_daemon: Callable[..., Daemon], own_site: CondaSite) -> None:
    node = start_daemon(settings=own_site.settings())
    tools = ("samtools", "bwa", "labtool", "lab-report", "procps-ng")
    pairs = list(itertools.combinations(tools, 2))
    with ThreadPoolExecutor(len(pairs)) as pool:
        names = list(pool.map(lambda pair: made(node, *pair), pairs))
    assert len(set(names)) == len(pairs)
    assert max(fetched(own_site).values()) == 1
    for name in set(names):
        assert any(path.startswith("opt/conda/conda-meta/") for path in files(layers(node, name)))


def test_twenty_pulls_of_a_name_that_nobody_asked_for(start_daemon: Callable[..., Daemon], own_site: CondaSite) -> None:
    node = start_daemon(settings=own_site.settings())
    name = f"{node.authority}/conda/lab-report:latest"
    with ThreadPoolExecutor(20) as pool:
        digests = set(pool.map(lambda _: digest(node, name), range(20)))
    assert len(digests) == 1
    assert set(fetched(own_site).values()) == {1}


def test_what_is_evicted_is_made_again(
    start_daemon: Callable[..., Daemon], own_site: CondaSite, tmp_path: Path
) -> None:
    """The store has room for one of three environments with a large package each."""
    names = ("one", "two", "three")
    large = [Package(name, files={f"share/{name}": Noise(6_000_000, seed)}) for seed, name in enumerate(names, 1)]
    own_site.server.channels["large"] = make_channel(tmp_path / "large", large)
    node = start_daemon(settings=own_site.settings(more={"store": {"limit": "24MB", "lease": 0.1}}))
    first = made(node, "one", "which", channels=("large", CHANNEL))
    expected, before = digest(node, first), layers(node, first)
    for name in ("two", "three", "two"):
        layers(node, made(node, name, channels=("large",)))
    assert digest(node, first) == expected
    assert layers(node, first) == before
    assert fetched(own_site)["/large/linux-64/one-1.0-h0_0.conda"] > 1


def test_lost_files_are_made_again(start_daemon: Callable[..., Daemon], own_site: CondaSite) -> None:
    node = start_daemon(settings=own_site.settings())
    name = made(node, *SPECS)
    expected, before = digest(node, name), layers(node, name)
    node.stop()
    removed = 0
    for file in sorted((node.state / "blobs").rglob("*")):
        if file.is_file() and re.fullmatch(r"[0-9a-f]{64}", file.name):
            file.unlink()
            removed += 1
    assert removed > 10
    node.start()
    assert digest(node, name) == expected
    assert layers(node, name) == before
