"""A state directory that lost something, or that somebody has damaged: what is gone is made again, the same."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from faulty import Node, StartNode

from lab import conda_asks, images, nextflow
from lab.conda_asks import CondaSite
from lab.http import request

pytestmark = pytest.mark.registry

SPECS = ("part002", "part003", "one")


def execute(node: Node, *statements: str) -> None:
    """Change the database of a daemon that is stopped."""
    with contextlib.closing(sqlite3.connect(node.state / "node.db")) as database, database:
        for statement in statements:
            database.execute(statement)


def blob_file(node: Node, digest: str) -> Path:
    """Return where a blob lies."""
    algorithm, hexadecimal = digest.split(":")
    return node.state / "blobs" / algorithm / hexadecimal[:2] / hexadecimal


@pytest.fixture
def node(start: StartNode, calm: Callable[..., str]) -> Node:
    """Return a daemon that has made an image."""
    made = start()
    assert made.digest(*SPECS) == calm(*SPECS)
    return made


def test_each_blob_that_is_removed_while_it_runs(node: Node) -> None:
    """In turn: what an image is made of here, and what of a registry. The name is the same, and so are the bytes."""
    name = node.name(*SPECS)
    path = nextflow.manifest_path(name)
    before = node.daemon.get(path, Accept=conda_asks.ACCEPT)
    document = before.json()
    for each in (*document["layers"], document["config"]):
        blob_file(node, each["digest"]).unlink()
        assert len(conda_asks.blob(node.daemon, name, each["digest"])) == each["size"]
    shutil.rmtree(node.state / "blobs" / "sha256")
    for each in (*reversed(document["layers"]), document["config"]):
        assert len(conda_asks.blob(node.daemon, name, each["digest"])) == each["size"]
    assert node.daemon.get(path, Accept=conda_asks.ACCEPT).body == before.body
    node.settle()
    node.check_files()


def test_rows_that_are_damaged(node: Node, calm: Callable[..., str]) -> None:
    expected = calm(*SPECS), calm("part003", "two")
    damage = (
        (
            "UPDATE images SET image = x'00'",
            "UPDATE channel_files SET digest = 'sha256:' || substr(digest, 8, 63) || '0'",
        ),
        ("UPDATE conda_locks SET lock = x'00'", "DELETE FROM origins"),
    )
    for statements in damage:
        node.daemon.stop()
        execute(node, *statements)
        node.daemon.start()
        assert node.digest(*SPECS) == expected[0], statements
        assert node.digest("part003", "two") == expected[1], statements
    assert "defect" not in node.daemon.log()


def test_parts_of_the_state_are_lost(node: Node, calm: Callable[..., str]) -> None:
    expected = calm(*SPECS), calm("part003", "two")
    for lost in ("node.db*", "[br]*"):
        node.daemon.stop()
        for path in node.state.glob(lost):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        node.daemon.start()
        assert node.digest(*SPECS) == expected[0], lost
        assert node.digest("part003", "two") == expected[1], lost
    node.settle()
    node.check_files()


def test_files_that_are_gone_cut_off_or_garbage(node: Node, calm: Callable[..., str], site: CondaSite) -> None:
    """The base image's manifest, layers, and all that the solver keeps."""
    expected = calm("two")
    name = node.name(*SPECS)
    document = conda_asks.manifest(node.daemon, name)
    base, _, tag = site.base.rpartition(":")
    path = f"/v2/{base.replace(':', '_')}/manifests/{tag}"
    of_base = node.daemon.head(path, Accept=conda_asks.ACCEPT).headers["docker-content-digest"]
    node.daemon.stop()
    blob_file(node, of_base).unlink()
    for layer in document["layers"]:
        os.truncate(blob_file(node, layer["digest"]), layer["size"] // 2)
    for file in [path for path in (node.state / "solver").rglob("*") if path.is_file()]:
        file.write_bytes(b"\0garbage" * 100)
    node.daemon.start()
    assert node.digest("two") == expected
    for layer in document["layers"]:
        path = nextflow.blob_path(name, layer["digest"])
        assert images.sha256(request("GET", node.daemon.url + path, seconds=5).body) == layer["digest"]
