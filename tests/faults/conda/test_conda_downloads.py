"""Channels that break off, send too little or too much, or are away: taken up again, or refused by the host's name."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from faulty import StartNode, at_once, eventually

from lab.conda_asks import CondaSite
from lab.processes import wait_for

pytestmark = pytest.mark.registry


def test_transfers_that_break_off_are_taken_up_again(
    site: CondaSite, start: StartNode, calm: Callable[..., str]
) -> None:
    expected = calm("part001", "part002")
    site.server.requests.clear()
    site.server.fault("/part001-", reset=700_000, times=3)
    site.server.fault("/part002-", truncate=300_000, times=3)
    assert start().digest("part001", "part002") == expected
    for part, place in (("/part001-", 700_000), ("/part002-", 300_000)):
        asked = [seen.headers.get("range", "") for seen in site.server.requests if part in seen.path]
        assert asked[:2] == ["", f"bytes={place}-"]
        assert len(asked) == 4


def test_faults_that_pass(site: CondaSite, start: StartNode, calm: Callable[..., str]) -> None:
    """Each once, on another package of the same environment: it is made all the same."""
    expected = calm("parts")
    passing: tuple[dict[str, Any], ...] = (
        {"status": 503, "headers": {"Retry-After": "0"}},
        {"status": 429, "headers": {"Retry-After": "0"}},
        {"status": 500},
        {"reset": -1},
        {"reset": 0},
        {"truncate": 100},
        {"delay": 1.0},
        {"rate": 500_000},
    )
    for number, fault in enumerate(passing, 2):
        site.server.fault(f"/part{number:03}-", times=1, **fault)
    site.server.fault("/linux-64/repodata", times=1, reset=100)
    assert start().digest("parts") == expected


def test_faults_that_stay(site: CondaSite, start: StartNode, calm: Callable[..., str]) -> None:
    """Each names the host, nothing of them is written down, and the same requests are answered once they are over."""
    faults: dict[str, dict[str, Any]] = {
        "part002": {"status": 404},
        "part003": {"status": 500},
        "part004": {"status": 403},
        "part005": {"reset": -1},
        "part006": {"corrupt": 3000},
        "part007": {"body": b"<html>502 Bad Gateway</html>"},
        "part008": {"content_length": 10},
        "part009": {"redirect": "loop"},
    }
    names = (*faults, "parts")
    expected = {name: calm(name) for name in names}
    node = start(more={"upstream": {"patience": 2}})
    for name, fault in faults.items():
        site.server.fault(f"/{name}-", **fault)
    for name, answer in zip(names, at_once(node.pull, *names), strict=True):
        assert answer.status >= 400, name
        assert site.server.host.encode() in answer.body, (name, answer)
        assert b"Traceback" not in answer.body
        assert b"defect" not in answer.body
    node.settle()
    node.check_files()
    site.server.clear_faults()
    node.daemon.kill()
    node.daemon.start()
    for name in names:
        assert node.digest(name) == expected[name]


def test_a_channel_that_goes_away_in_the_middle(site: CondaSite, start: StartNode, calm: Callable[..., str]) -> None:
    expected = calm("parts"), calm("part005", "one")
    site.server.requests.clear()
    site.server.fault("/part", rate=1_000_000)
    node = start()
    with ThreadPoolExecutor(1) as threads:
        answer = threads.submit(node.pull, "parts")
        wait_for(lambda: site.server.count("/part") > 8, "archives", 10)
        site.server.off()
        away = answer.result(40)
    assert away.status == 502
    assert site.server.host.encode() in away.body
    unsolved = node.pull("part005", "one")
    assert unsolved.status == 502
    assert site.server.host.encode() in unsolved.body
    site.server.on()
    for answer in at_once(lambda specs: eventually(lambda: node.pull(*specs)), ("parts",), ("part005", "one")):
        assert answer.status == 200, answer
    assert node.digest("parts") == expected[0]
    assert node.digest("part005", "one") == expected[1]
    site.server.off()
    assert node.digest("parts") == expected[0]
