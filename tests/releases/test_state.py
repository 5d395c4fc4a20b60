"""What version 0.2.0 has left on a node and in its cluster's directory answers as it did, with nobody to ask."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from lab import conda_asks, images, nextflow
from lab.daemon import Daemon
from releases.state import KEY, Left, settings, unpack, wavelet
from wavelet.cluster.shared_directory.secrets import DirectorySecrets

pytestmark = pytest.mark.process

NOWHERE = "http://127.0.0.1:9"
"""Where nobody listens."""

BEFORE = "an image whose tag has moved since"
"""What was asked for here has another name by now."""


class Node:
    """A daemon of this version, whose upstreams are off, on what a version has left of one (`which`)."""

    def __init__(self, left: Left, which: str, state: str = "") -> None:
        given = settings(NOWHERE, NOWHERE)
        given["conda"] |= {"engine": "none"}
        given["upstream"] |= {"patience": 0.5}
        given |= {"records": {"directory": str(left.root / "shared")}} if which == "node" else {}
        self.told = left.told[which]
        self.daemon = Daemon(left.root / (state or which), settings=given)

    def digest(self, path: str) -> str:
        """Return the digest of a manifest."""
        answer = self.daemon.get(path, Accept=conda_asks.ACCEPT)
        assert answer.status == 200, (path, answer.body)
        return images.sha256(answer.body)


StartNode = Callable[..., Node]


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartNode]:
    with ExitStack() as stack:

        def begin(which: str, state: str = "", *, lost: str = "") -> Node:
            left = unpack("0.2.0", tmp_path_factory.mktemp(which))
            if lost:
                (left.root / which / lost).unlink()
            node = Node(left, which, state)
            stack.callback(node.daemon.stop)
            node.daemon.start()
            return node

        yield begin


@pytest.fixture(scope="module", params=["alone", "node"])
def node(request: pytest.FixtureRequest, start: StartNode) -> Node:
    """Return a node on its own state directory."""
    return start(request.param)


def test_names_answer_what_they_did(node: Node) -> None:
    held = set(node.told["blobs"])
    assert len(node.told["names"]) > 10
    for what, was in node.told["names"].items():
        assert node.digest(was["path"]) == was["digest"], what
        repository = was["path"].partition("/manifests/")[0]
        for digest in held & set(was["blobs"]):
            answer = node.daemon.get(f"{repository}/blobs/{digest}")
            assert images.sha256(answer.body) == digest, what


def test_who_asks_again_gets_the_same_name(node: Node) -> None:
    asked = {what: was for what, was in node.told["names"].items() if "asked" in was and what != BEFORE}
    assert len(asked) > 5
    for what, was in asked.items():
        assert nextflow.ask(node.daemon, **was["asked"])["targetImage"] == was["name"], what


def test_locks_stand(node: Node) -> None:
    for build in node.told["builds"].values():
        assert conda_asks.lock(node.daemon, build["id"]) == build["lock"]
        assert "made" in conda_asks.build_log(node.daemon, build["id"])


def test_everything_is_listed(node: Node) -> None:
    listed = wavelet(node.daemon, "cache", "ls", "--blobs")
    assert sorted(each["digest"] for each in listed) == node.told["blobs"]
    assert by_name(wavelet(node.daemon, "cache", "ls")) == by_name(node.told["images"])
    was = node.told["requests"]
    tokens = {each["token"] for each in was}
    now = [each for each in wavelet(node.daemon, "requests", "-a", "-n", "500") if each["token"] in tokens]
    added = {"rules": []}  # the versions before knew none
    assert [each for each in now if each["refused"]] == [added | each for each in was if each["refused"]]
    assert state_by_token(now) == state_by_token(was)


def by_name(listed: list[dict[str, Any]]) -> dict[str, Any]:
    return {each["name"]: (each["digest"], each["size"], each["fullSize"], each["pinned"]) for each in listed}


def state_by_token(listed: list[dict[str, Any]]) -> dict[str, Any]:
    return {each["token"]: (each["containerImage"], each["state"], each["uid"], each["door"]) for each in listed}


def test_another_node_of_the_cluster_knows_its_names_and_locks(start: StartNode) -> None:
    knows_names_and_locks(start("node", "another"))


def test_a_node_that_has_lost_its_cache_knows_its_names_and_locks(start: StartNode) -> None:
    knows_names_and_locks(start("alone", lost="node.db"))


def knows_names_and_locks(node: Node) -> None:
    """Make sure of what is in records and claims alone."""
    for was in node.told["names"].values():
        if "token" in was:
            told = node.daemon.get(f"/v1alpha2/container/{was['token']}").json()
            assert (told["id"], told["waveImage"]) == (was["token"], was["name"])
    for build in node.told["builds"].values():
        assert conda_asks.lock(node.daemon, build["id"]) == build["lock"]


async def test_logins_that_were_handed_over_open(tmp_path: Path) -> None:
    left = unpack("0.2.0", tmp_path)
    kept = DirectorySecrets(left.root / "shared", KEY, lambda: float(left.told["stopped"]))
    logins = await kept.of(0)
    await kept.close()
    assert {registry: each.login.username for registry, each in logins.items()} == {"registry.example": "ann"}
    assert logins["registry.example"].login.secret == "ann-password"
