"""Killed at any moment of solving, fetching, making and composing: after a new start it is the same image."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from faulty import PARTS, SOLVER, WORKER, Node, StartNode

from lab.conda_asks import CondaSite
from lab.processes import wait_for

pytestmark = [pytest.mark.registry, pytest.mark.timeout(120)]

ROUNDS = 3
RATE = 2_000_000
"""Bytes a second of each transfer: fetching and making take about a second."""


def ask_quietly(node: Node, *specs: str) -> None:
    """Ask for packages and wait, whatever comes of it."""
    try:
        node.pull(*specs, seconds=20)
    except OSError:
        return


def test_killed_at_any_moment(site: CondaSite, start: StartNode, calm: Callable[..., str]) -> None:
    moments = random.Random(int(os.environ.get("WAVELET_SEED", "11")))
    expected = {specs: calm(*specs) for specs in (("parts",), ("part003", "one"))}
    site.server.fault(r"/part\d+-", rate=RATE)
    node = start(workers=2)
    for _ in range(ROUNDS):
        with ThreadPoolExecutor(len(expected)) as threads:
            for specs in expected:
                threads.submit(ask_quietly, node, *specs)
            time.sleep(moments.uniform(0.05, 1.5))
            node.daemon.kill()
        node.wait_until_gone()
        node.check_files()
        node.daemon.start()
        assert node.leftovers() == []
    site.server.clear_faults()
    for specs, digest in expected.items():
        assert node.digest(*specs) == digest
    node.settle()
    node.check_files()
    site.server.off()
    node.daemon.kill()
    node.daemon.start()
    assert node.digest("parts") == expected["parts",]
    assert "Traceback" not in node.daemon.log()


def test_killed_while_it_puts_together(start: StartNode, calm: Callable[..., str], site: CondaSite) -> None:
    """All is there but the image: layers are taken as they are, none is made or fetched again."""
    moments = random.Random(int(os.environ.get("WAVELET_SEED", "11")) + 1)
    expected = calm("parts")
    node = start(workers=2)
    for name in PARTS:
        assert node.pull(name).status == 200
    site.server.requests.clear()
    with ThreadPoolExecutor(1) as threads:
        threads.submit(ask_quietly, node, "parts")
        time.sleep(moments.uniform(0.02, 0.3))
        node.daemon.kill()
    node.wait_until_gone()
    node.daemon.start()
    assert node.digest("parts") == expected
    assert [seen.path for seen in site.server.requests if "/part0" in seen.path] == []
    node.settle()


def test_workers_and_solvers_that_are_killed(start: StartNode, calm: Callable[..., str], site: CondaSite) -> None:
    """Their work is done all the same, by another process; what was fetched is not fetched again."""
    expected = calm("heavy", "parts")
    site.server.requests.clear()
    node = start(workers=2)
    fault = site.server.fault("/linux-64/repodata", delay=0.5, times=1)
    with ThreadPoolExecutor(1) as threads:
        digest = threads.submit(node.digest, "heavy", "parts")
        wait_for(lambda: fault.hits > 0, "a look at the index", 10)
        os.kill(node.processes(SOLVER)[0], signal.SIGKILL)
        wait_for(node.is_making, "making", 10)
        os.kill(node.processes(WORKER)[0], signal.SIGKILL)
        assert digest.result(40) == expected
    assert "the solver process died" in node.daemon.log()
    assert "a worker process died" in node.daemon.log()
    assert len(node.processes(SOLVER)) == 1
    assert site.server.count("/heavy-") == 1
    node.settle()
    node.check_files()


def test_told_to_stop_in_the_middle_of_work(start: StartNode, site: CondaSite, calm: Callable[..., str]) -> None:
    """In the middle of solving, fetching and making: it ends within its grace, with all of its processes."""
    expected = calm("heavy", "part001")
    node = start(workers=2, more={"grace_period": 1})
    for stalls, package in (("/linux-64/repodata", "part001"), ("/part001-", "part001"), ("(?!)", "heavy")):
        fault = site.server.fault(stalls, stall=0)
        with ThreadPoolExecutor(1) as threads:
            threads.submit(ask_quietly, node, package)
            wait_for(lambda fault=fault: fault.hits > 0 or node.is_making(), "work", 10)  # type: ignore[misc]
            began = time.monotonic()
            assert node.daemon.stop() == 0
            assert time.monotonic() - began < 5, stalls
        node.wait_until_gone()
        node.check_files()
        site.server.clear_faults()
        node.daemon.start()
        assert node.leftovers() == []
    assert node.digest("heavy", "part001") == expected
