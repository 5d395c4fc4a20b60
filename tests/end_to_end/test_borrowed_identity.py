"""What another user must not reach by making the daemon ask itself, or by naming the digests of somebody's layer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from lab import images, nextflow
from lab.daemon import Daemon
from lab.http import Answer
from lab.registry import PASSWORDS, Registry
from lab.users import User

pytestmark = [pytest.mark.registry, pytest.mark.users]

ACCEPT = ", ".join(images.MANIFEST_TYPES)
SECRET = images.layer({"secret": b"nobody else may read this either\n"})
SCRIPT = images.layer({"bin/script": b"#!/bin/sh\necho mine\n"})


def ask_as(user: User, node: Daemon, **fields: Any) -> Answer:
    body = json.dumps(nextflow.body(**fields)).encode()
    headers = {"Content-Type": "application/json"}
    return user.request("POST", f"{node.url}/v1alpha2/container", headers=headers, body=body)


@pytest.fixture
def private_name(tmp_path: Any, node: Daemon, ann: User) -> Iterator[str]:
    registry = Registry(tmp_path, accounts=("ann",))
    registry.start()
    source = registry.push("secret/tool", "1", images.busybox(SECRET))
    ann.log_in(registry.host, "ann", PASSWORDS["ann"])
    answer = ask_as(ann, node, containerImage=source)
    assert answer.status == 200, answer.body
    yield str(answer.json()["targetImage"])
    registry.stop()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_name_that_leads_back_to_the_daemon_does_not_lend_its_uid(
    node: Daemon, private_name: str, ann: User, bob: User, host: str
) -> None:
    assert ann.get(node.url + nextflow.manifest_path(private_name), Accept=ACCEPT).status == 200
    port = node.url.rpartition(":")[2]
    _, _, rest = private_name.partition("/")
    roundabout = f"{host}_{port}/{rest}"
    path, _, tag = roundabout.rpartition(":")
    for kind, reference in (("manifests", tag), ("blobs", SECRET.digest)):
        answer = bob.get(f"{node.url}/v2/{path}/{kind}/{reference}", Accept=ACCEPT)
        assert answer.status in (401, 403, 404), answer
        assert SECRET.blob not in answer.body


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_request_that_leads_back_to_the_daemon_does_not_lend_its_uid(
    node: Daemon, private_name: str, ann: User, bob: User, host: str
) -> None:
    port = node.url.rpartition(":")[2]
    _, _, rest = private_name.partition("/")
    answer = ask_as(bob, node, containerImage=f"{host}:{port}/{rest}")
    assert 400 <= answer.status < 500, answer.body


def test_a_layer_url_that_leads_back_to_the_daemon_does_not_lend_its_uid(
    node: Daemon, private_name: str, registry: Registry, ann: User, bob: User
) -> None:
    assert ann.get(node.url + nextflow.blob_path(private_name, SECRET.digest)).status == 200
    base = registry.push("public/base", "1", images.busybox())
    url = node.url + nextflow.blob_path(private_name, SECRET.digest)
    answer = ask_as(bob, node, containerImage=base, containerConfig={"layers": [SECRET.in_request(url)]})
    assert 400 <= answer.status < 500, answer.body


@pytest.mark.parametrize("bob_first", [False, True], ids=["after", "before"])
def test_naming_the_digests_of_another_users_layer_opens_nothing(
    node: Daemon, registry: Registry, ann: User, bob: User, bob_first: bool
) -> None:
    base = registry.push(f"public/shared-{'before' if bob_first else 'after'}", "1", images.busybox())

    def asked(user: User, location: str = "") -> str:
        config = {"layers": [SCRIPT.in_request(location)]}
        answer = ask_as(user, node, containerImage=base, containerConfig=config)
        assert answer.status == 200, answer.body
        return str(answer.json()["targetImage"])

    dead = "http://127.0.0.1:1/layer.tar.gz"
    if bob_first:
        bobs, anns = asked(bob, dead), asked(ann)
    else:
        anns, bobs = asked(ann), asked(bob, dead)
    assert ann.get(node.url + nextflow.manifest_path(anns), Accept=ACCEPT).status == 200
    assert ann.get(node.url + nextflow.blob_path(anns, SCRIPT.digest)).body == SCRIPT.blob
    assert bob.get(node.url + nextflow.manifest_path(bobs), Accept=ACCEPT).status >= 400
    answer = bob.get(node.url + nextflow.blob_path(bobs, SCRIPT.digest))
    assert answer.status >= 400
    assert answer.body != SCRIPT.blob


def test_the_same_layers_from_two_places_have_one_name(node: Daemon, registry: Registry, ann: User, bob: User) -> None:
    base = registry.push("public/two-places", "1", images.busybox())
    inline = ask_as(ann, node, containerImage=base, containerConfig={"layers": [SCRIPT.in_request()]}).json()
    again = ask_as(bob, node, containerImage=base, containerConfig={"layers": [SCRIPT.in_request()]}).json()
    assert inline["targetImage"] == again["targetImage"]
