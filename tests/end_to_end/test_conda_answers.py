"""What a client is told while an environment is made, when it is, and when it cannot be: status, build, log, pages."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from lab import conda_asks, nextflow
from lab.conda_asks import CHANNEL, CondaSite, ask, build_log, done, post, status
from lab.conda_channel import make_channel
from lab.conda_packages import File, Noise, Package
from lab.daemon import Daemon
from lab.processes import wait_for

pytestmark = pytest.mark.registry

INDEX = r"repodata|shards"

AT_ONCE = 15.0
"""Seconds within which what waiting cannot mend has failed, on a busy machine; it was half a minute and more."""


def test_an_environment_that_takes_its_time(start_daemon: Callable[..., Daemon], own_site: CondaSite) -> None:
    node = start_daemon(settings=own_site.settings())
    fault = own_site.server.fault(r"samtools.*\.conda", stall=1000)
    answer = ask(node, "samtools=1.17")
    token, build = answer["requestId"], answer["buildId"]
    assert build == f"bd-{token}_0"
    assert "succeeded" not in answer
    assert answer["cached"] is False
    state = status(node, token)
    assert state["status"] == "BUILDING"
    assert state["buildId"] == build
    assert state.get("succeeded") is None
    assert state["detailsUri"] == f"{node.url}/view/builds/{build}"
    record = node.get(f"/v1alpha1/builds/{build}").json()
    assert record["buildId"] == build
    assert "samtools=1.17" in record["condaFile"]
    assert record.get("exitStatus") is None
    assert node.get(f"/v1alpha1/builds/{build}/status").json()["status"] == "PENDING"
    wait_for(lambda: "htslib-1.17" in build_log(node, build), "the first layers in the log", 10)
    early = build_log(node, build)
    assert "solved" in early
    assert "samtools-1.17-h0_0.conda:" not in early
    assert "pending" in node.get(f"/view/containers/{token}").body.decode()
    own_site.server.clear_faults()
    assert fault.hits
    state = done(node, token)
    assert state["succeeded"] is True
    assert state["duration"] > 0
    late = build_log(node, build)
    assert late.startswith(early.splitlines()[0])
    assert "samtools-1.17-h0_0.conda:" in late
    assert "ready" in late
    record = node.get(f"/v1alpha1/builds/{build}").json()
    assert record["exitStatus"] == 0
    assert record["targetImage"] == answer["targetImage"]
    assert node.get(f"/v1alpha1/builds/{build}/status").json()["succeeded"] is True
    page = node.get(f"/view/builds/{build}").body.decode()
    assert "samtools-1.17-h0_0.conda:" in page
    assert "ready" in page
    assert conda_asks.digest(node, answer["targetImage"])
    digest = node.get(f"/v1alpha1/builds/{build}").json()["digest"]
    assert digest == conda_asks.digest(node, answer["targetImage"])
    again = ask(node, "samtools=1.17")
    assert again["targetImage"] == answer["targetImage"]
    assert again["succeeded"] is True
    assert again["cached"] is True


def test_the_second_time_is_said_to_be_the_second(conda_node: Daemon) -> None:
    first = ask(conda_node, "which", "bwa=0.7.17", "empty")
    done(conda_node, first["requestId"])
    second = ask(conda_node, "which", "samtools=1.17", "empty")
    done(conda_node, second["requestId"])
    lines = build_log(conda_node, second["buildId"]).splitlines()
    assert [line for line in lines if "which-2.21" in line and "cached" in line], lines


def test_an_environment_that_cannot_be_solved(conda_node: Daemon) -> None:
    ask(conda_node, "which")
    answer = post(conda_node, "needs-old-samtools", "samtools=1.18")
    assert answer.status == 400
    message = answer.json()["message"]
    assert "needs-old-samtools" in message
    assert "samtools" in message
    assert "relay" not in message
    old = conda_asks.packages("no-such-thing-at-all")
    assert "no-such-thing-at-all" in nextflow.post(conda_node, packages=old).json()["message"]


def test_no_solution_and_a_slow_channel(start_daemon: Callable[..., Daemon], own_site: CondaSite) -> None:
    node = start_daemon(settings=own_site.settings())
    own_site.server.fault(INDEX, delay=2.5, times=1)
    answer = ask(node, "needs-old-samtools", "samtools=1.18")
    assert "succeeded" not in answer
    assert status(node, answer["requestId"])["status"] == "BUILDING"
    state = done(node, answer["requestId"])
    assert state["succeeded"] is False
    assert "needs-old-samtools" in state["reason"]
    record = node.get(f"/v1alpha1/builds/{answer['buildId']}").json()
    assert record["exitStatus"] == 1
    assert "needs-old-samtools" in node.get(f"/view/builds/{answer['buildId']}").body.decode()
    pulled = node.get(nextflow.manifest_path(answer["targetImage"]), Accept=conda_asks.ACCEPT)
    assert pulled.status == 400
    assert "needs-old-samtools" in pulled.json()["errors"][0]["message"]


def test_a_channel_that_is_down_for_a_while(start_daemon: Callable[..., Daemon], own_site: CondaSite) -> None:
    node = start_daemon(settings=own_site.settings())
    own_site.server.fault(INDEX, status=503)
    answer = ask(node, "samtools=1.17")
    assert "succeeded" not in answer
    wait_for(lambda: own_site.server.host in status(node, answer["requestId"]).get("reason", ""), "a reason", 10)
    assert status(node, answer["requestId"])["status"] == "BUILDING"
    assert status(node, answer["requestId"]).get("succeeded") is None
    own_site.server.clear_faults()
    assert done(node, answer["requestId"], 25)["succeeded"] is True


def test_a_channel_that_nobody_runs(start_daemon: Callable[..., Daemon], own_site: CondaSite) -> None:
    """Fault A4: a refused connection is a failure at once; a new request asks anew."""
    node = start_daemon(settings=own_site.settings())
    own_site.server.off()
    answer = ask(node, "samtools=1.17")
    state = done(node, answer["requestId"], AT_ONCE)
    assert state["succeeded"] is False
    assert own_site.server.host in state["reason"]
    pulled = node.get(nextflow.manifest_path(answer["targetImage"]), Accept=conda_asks.ACCEPT)
    assert pulled.status == 502
    assert own_site.server.host in pulled.json()["errors"][0]["message"]
    own_site.server.on()
    assert status(node, answer["requestId"])["succeeded"] is False  # that stands until it is asked for again
    wait_for(lambda: done(node, ask(node, "samtools=1.17")["requestId"])["succeeded"], "the channel", 25)


def test_a_channel_that_is_not_there(conda_node: Daemon, conda_site: CondaSite) -> None:
    answer = post(conda_node, "samtools", channels=("no-such-channel",))
    assert answer.status in (400, 404)
    assert f"{conda_site.server.url}/no-such-channel" in answer.json()["message"]


@pytest.mark.parametrize("damage", [None, b"other bytes than the index says"])
def test_a_package_that_is_not_what_the_index_says(
    start_daemon: Callable[..., Daemon], own_site: CondaSite, tmp_path_factory: pytest.TempPathFactory,
    damage: bytes | None,
) -> None:  # fmt: skip
    """Fault A4: an archive that is not there, or has another digest, is a failure at once."""
    mine = make_channel(tmp_path_factory.mktemp("gone") / "c", [Package("gone", files={"share/gone": File(b"x")})])
    own_site.server.channels["mine"] = mine
    archive = mine / "linux-64/gone-1.0-h0_0.conda"
    archive.unlink()
    if damage is not None:
        archive.write_bytes(damage)
    node = start_daemon(settings=own_site.settings())
    state = done(node, ask(node, "gone", channels=("mine",))["requestId"], AT_ONCE)
    assert state["succeeded"] is False
    assert f"{own_site.server.url}/mine/linux-64/gone-1.0-h0_0.conda" in state["reason"]


def test_locks_and_what_is_not_there(conda_node: Daemon) -> None:
    answer = ask(conda_node, "which")
    build = answer["buildId"]
    done(conda_node, answer["requestId"])
    assert "@EXPLICIT" in conda_asks.lock(conda_node, build)
    assert conda_node.get(f"/v1alpha1/builds/{build}/condalock?format=nonsense").status == 400
    for path in (f"/v1alpha1/builds/bd-{'0' * 32}_0", f"/view/builds/bd-{'0' * 32}_0", "/v1alpha1/builds/nonsense"):
        assert conda_node.get(path).status == 404
    assert "charset=utf-8" in conda_node.get(f"/view/builds/{build}").headers["content-type"]


def test_a_large_package_is_made_without_stopping_others(
    start_daemon: Callable[..., Daemon], own_site: CondaSite, tmp_path_factory: pytest.TempPathFactory
) -> None:
    large = Package("large", files={"share/large": Noise(64 * 1024 * 1024, None)})
    own_site.server.channels["large"] = make_channel(tmp_path_factory.mktemp("large") / "c", [large])
    node = start_daemon(settings=own_site.settings())
    answers = 0
    with ThreadPoolExecutor(1) as threads:
        work = threads.submit(lambda: done(node, ask(node, "large", channels=("large", CHANNEL))["requestId"]))
        while not work.done():
            before = node.is_making()
            assert node.get("/healthz").status == 200
            answers += before and node.is_making()
    assert work.result()["succeeded"] is True
    assert answers > 3
