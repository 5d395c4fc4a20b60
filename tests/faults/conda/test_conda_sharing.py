"""Many who ask at once: each package is fetched and made once, and everybody gets the same image."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest
from faulty import PARTS, StartNode, at_once

from lab.conda_asks import CondaSite

pytestmark = pytest.mark.registry


def archives(site: CondaSite) -> Counter[str]:
    """Return how often each archive was asked for."""
    return Counter(seen.path.rpartition("/")[2] for seen in site.server.requests if seen.path.endswith(".conda"))


def test_one_environment_and_others_that_overlap(site: CondaSite, start: StartNode, calm: Callable[..., str]) -> None:
    asked = [("parts",)] * 20 + [("heavy",)] * 2 + [(name, "one") for name in PARTS[:6]]
    expected = [calm(*specs) for specs in asked]
    site.server.requests.clear()
    node = start()
    site.server.fault("/part|/heavy", delay=0.1)
    answers = at_once(lambda specs: node.pull(*specs), *asked)
    assert [answer.headers.get("docker-content-digest") for answer in answers] == expected
    assert set(archives(site).values()) == {1}
    assert len(archives(site)) == len(PARTS) + 3
    logs = node.rows("SELECT text FROM journals")
    assert sum(text.count("made in") for (text,) in logs) == len(PARTS) + 3
    node.settle()


def test_two_nodes_with_shared_records(
    site: CondaSite, start: StartNode, calm: Callable[..., str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    shared = str(tmp_path_factory.mktemp("records"))
    nodes = [start(name, more={"records": {"directory": shared}}) for name in ("first", "second")]
    assert at_once(lambda node: node.digest("parts"), *nodes, *nodes) == [calm("parts")] * 4
