"""However many ask at a time, an archive is fetched once and a layer made once; what is evicted is made again."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from lab.conda_asks import CondaSite, ask, blob, build_log, digest, done, files, layers, made, manifest
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
    assert len(counts) == 12
    assert set(counts.values()) == {1}, counts
    assert own_site.server.count("repodata") + own_site.server.count("shards") < 20
    log = build_log(node, answers[0]["buildId"])
    assert log.count("samtools-1.17-h0_0.conda: ") == 1


def test_different_environments_that_overlap(start_daemon: Callable[..., Daemon], own_site: CondaSite) -> None:
    node = start_daemon(settings=own_site.settings())
    tools = ["samtools=1.17", "samtools=1.18", "bwa=0.7.17", "bwa=0.7.18", "labtool", "lab-report", "meta", "procps-ng"]

    def one(number: int) -> str:
        return made(node, tools[number % 8], tools[(number * 3 + 4) % 8] if number % 2 else "which")

    with ThreadPoolExecutor(8) as pool:
        names = list(pool.map(one, range(16)))
    assert len(set(names)) >= 8
    assert max(fetched(own_site).values()) == 1
    for name in set(names):
        assert any(path.startswith("opt/conda/conda-meta/") for path in files(layers(node, name)))


def test_twenty_pulls_of_a_name_that_nobody_asked_for(
    start_daemon: Callable[..., Daemon], own_site: CondaSite
) -> None:
    node = start_daemon(settings=own_site.settings())
    name = f"{node.authority}/conda/lab-report:latest"
    with ThreadPoolExecutor(20) as pool:
        digests = set(pool.map(lambda _: digest(node, name), range(20)))
    assert len(digests) == 1
    assert set(fetched(own_site).values()) == {1}


def test_evicted_layers_are_made_again(start_daemon: Callable[..., Daemon], own_site: CondaSite) -> None:
    """The store has room for the base and for one of two environments with a large package each."""
    settings = own_site.settings(more={"store": {"limit": "21MB", "lease": 0.1}})
    node = start_daemon(settings=settings)
    first = made(node, "samtools=1.17", "bwa=0.7.17", "which")
    expected = digest(node, first)
    document = manifest(node, first)
    blobs = [entry["digest"] for entry in [document["config"], *document["layers"]]]
    other = made(node, "python", "lab-report")
    layers(node, other)
    for each in blobs:
        blob(node, first, each)
    assert digest(node, first) == expected
    assert max(fetched(own_site).values()) > 1 or "making again" in node.log()


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
