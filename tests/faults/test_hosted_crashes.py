"""Pushes that the end of the process cuts off: what a tag leads to is whole, whenever that was."""

from __future__ import annotations

import contextlib
import random
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from lab import images
from lab.daemon import Daemon
from lab.http import request
from lab.processes import LabError

ROUNDS = 4
PUSHERS = 3


def push_until(node: Daemon, number: int, round_number: int, ended: threading.Event) -> None:
    """Push one image after another, the same tag moving, until the daemon has gone."""
    for count in range(10_000):
        if ended.is_set():
            return
        layers = [
            images.random_layer(0.3, seed=number * 1000 + count % 3),
            images.layer({"n": f"{round_number} {count}"}),
        ]
        with contextlib.suppress(OSError, LabError):
            images.push(node.url, f"local/crash/{number}", str(count % 2), images.image(layers, family=images.OCI))


def expect_whole(node: Daemon, number: int) -> int:
    """Read all that the tags of a repository lead to; return how many tags there are."""
    base = f"{node.url}/v2/local/crash/{number}"
    tags = request("GET", f"{base}/tags/list").json()["tags"]
    for tag in tags:
        answer = request("GET", f"{base}/manifests/{tag}", headers={"Accept": ", ".join(images.MANIFEST_TYPES)})
        assert answer.status == 200, answer.body
        assert images.sha256(answer.body) == answer.headers["docker-content-digest"]
        document = answer.json()
        for part in [document["config"], *document["layers"]]:
            blob = request("GET", f"{base}/blobs/{part['digest']}")
            assert (blob.status, images.sha256(blob.body)) == (200, part["digest"])
    return len(tags)


def test_what_a_tag_leads_to_is_whole_after_every_crash(start_daemon: Callable[..., Daemon], state_dir: Path) -> None:
    node = start_daemon(state_dir, settings={"hosted": {"pushes": "on"}})
    images.push(node.url, "local/crash/0", "first", images.image([images.layer({"n": "first"})], family=images.OCI))
    for round_number in range(ROUNDS):
        ended = threading.Event()
        pushing = [
            threading.Thread(target=push_until, args=(node, number, round_number, ended)) for number in range(PUSHERS)
        ]
        for each in pushing:
            each.start()
        ended.wait(random.uniform(0.5, 1.5))
        node.kill()
        ended.set()
        for each in pushing:
            each.join()
        if round_number == ROUNDS - 1:
            (state_dir / "node.db").unlink()
        node.start()
        assert sum(expect_whole(node, number) for number in range(PUSHERS)) > 0


@pytest.mark.parametrize("what", ["blobs", "manifests"])
def test_what_was_lost_on_disk_can_be_pushed_again(
    start_daemon: Callable[..., Daemon], state_dir: Path, what: str
) -> None:
    node = start_daemon(state_dir, settings={"hosted": {"pushes": "on"}})
    image = images.image([images.layer({"a": b"b" * 1000})], family=images.OCI)
    images.push(node.url, "local/lost", "1", image)
    digest = image.digest if what == "manifests" else next(iter(image.blobs))
    node.stop()
    next((state_dir / "blobs").glob(f"*/*/{digest.partition(':')[2]}")).unlink()
    node.start()
    assert request("HEAD", f"{node.url}/v2/local/lost/{what}/{digest}").status == 404
    images.push(node.url, "local/lost", "1", image)
    assert request("GET", f"{node.url}/v2/local/lost/{what}/{digest}").status == 200
    assert request("GET", f"{node.url}/v2/local/lost/manifests/1").status == 200
