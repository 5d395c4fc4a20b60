"""Logins that users hand over: two real users, a third without any, and two nodes that share a directory."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lab import images, nextflow
from lab.daemon import Daemon, environment
from lab.engines import Docker
from lab.http import Answer
from lab.processes import wait_for
from lab.registry import PASSWORDS, Registry
from lab.users import User
from lab.written import contents

pytestmark = [pytest.mark.registry, pytest.mark.users]

ACCEPT = ", ".join(images.MANIFEST_TYPES)
TTL = 1.0

_CALL = """
import json, sys
from wavelet.client import Client
from google.protobuf.json_format import MessageToDict
target, method, arguments = json.load(sys.stdin)
with Client(target) as client:
    print(json.dumps(MessageToDict(getattr(client, method)(*arguments))))
"""


@dataclass
class Node:
    """A root daemon, and the socket that its users reach."""

    daemon: Daemon
    target: str

    def call(self, user: User, method: str, *arguments: str) -> dict[str, Any]:
        """Call a method of the Python client as this user; what it is given goes over standard input."""
        done = subprocess.run(
            [*user.prefix(), sys.executable, "-c", _CALL],
            check=False,
            input=json.dumps([self.target, method, arguments]),
            env=environment({"HOME": str(user.home)}),
            cwd="/",
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert done.returncode == 0, done.stderr
        said: dict[str, Any] = json.loads(done.stdout)
        return said

    def ask(self, user: User, image: str) -> Answer:
        """POST a container request as this user."""
        url, body = f"{self.daemon.url}/v1alpha2/container", json.dumps(nextflow.body(containerImage=image)).encode()
        return user.request("POST", url, headers={"Content-Type": "application/json"}, body=body)

    def target_of(self, user: User, image: str) -> str:
        """Return the name that this user is given for an image, without the authority."""
        answer = self.ask(user, image)
        assert answer.status == 200, answer.body
        return str(answer.json()["targetImage"]).partition("/")[2]

    def manifest(self, user: User, path: str) -> Answer:
        """GET the manifest of a name as this user."""
        return user.get(self.daemon.url + nextflow.manifest_path(f"{self.daemon.authority}/{path}"), Accept=ACCEPT)


@dataclass
class Site:
    """Two nodes, and a registry for each of two users."""

    one: Node
    two: Node
    records: Path
    of_ann: str
    of_bob: str
    hosts: dict[str, str]


@pytest.fixture(scope="module")
def carl() -> Iterator[User]:
    """Return a user who never logs in."""
    user = User.create("c")
    yield user
    user.remove()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    root = tmp_path_factory.mktemp("logins")
    with ExitStack() as stack:
        images_of, hosts = {}, {}
        for name in ("ann", "bob"):
            registry = Registry(root / name, accounts=(name,))
            stack.callback(registry.stop)
            registry.start()
            secret = images.layer({"secret": f"nobody but {name} may read this\n".encode()})
            images_of[name] = registry.push("secret/tool", "1", images.busybox(secret))
            hosts[name] = registry.host
        nodes = []
        for name in ("one", "two"):
            # Every user has to reach the socket, which the directories of pytest do not allow.
            public = Path(tempfile.mkdtemp(prefix="wl-logins-"))
            stack.callback(shutil.rmtree, public)
            public.chmod(0o755)
            settings = {
                "records": {"directory": str(root / "records")},
                "grpc": {"socket": str(public / "wavelet.sock")},
                "upstream": {"access_ttl": TTL, "tag_ttl": TTL},
            }
            daemon = Daemon(root / f"node-{name}", settings=settings)
            stack.callback(daemon.stop)
            nodes.append(Node(daemon.start(), f"unix:{public / 'wavelet.sock'}"))
        yield Site(nodes[0], nodes[1], root / "records", images_of["ann"], images_of["bob"], hosts)


@pytest.fixture(scope="module")
def logged_in(site: Site, ann: User, bob: User) -> Site:
    """Return the site after both users have handed over their logins to the first node."""
    without = site.one.ask(ann, site.of_ann)
    assert 400 <= without.status < 500
    assert f"`wavelet login {site.hosts['ann']}`" in without.json()["message"]
    for user, name in ((ann, "ann"), (bob, "bob")):
        said = site.one.call(user, "login", site.hosts[name], name, PASSWORDS[name])
        assert said.get("shared") is True, said
    return site


def audited(node: Node) -> list[dict[str, Any]]:
    """Return what the audit log of a node says."""
    return [json.loads(line) for line in (node.daemon.state / "audit.log").read_text().splitlines()]


def test_each_user_has_its_own(logged_in: Site, ann: User, bob: User, carl: User) -> None:
    site, names = logged_in, {}
    for user, mine, others in ((ann, site.of_ann, site.of_bob), (bob, site.of_bob, site.of_ann)):
        names[user.uid] = site.one.target_of(user, mine)
        assert site.one.manifest(user, names[user.uid]).status == 200
        refused = site.one.ask(user, others)
        assert 400 <= refused.status < 500
        assert "wavelet login" in refused.json()["message"]
    for user, path in ((bob, names[ann.uid]), (ann, names[bob.uid]), (carl, names[ann.uid]), (carl, names[bob.uid])):
        assert site.one.manifest(user, path).status in (401, 403, 404)
    for image in (site.of_ann, site.of_bob):
        assert 400 <= site.one.ask(carl, image).status < 500
    assert site.one.call(carl, "logins") == {}
    (held,) = site.one.call(ann, "logins")["logins"]
    assert (held["registry"], held["username"]) == (site.hosts["ann"], "ann")


@pytest.mark.docker
def test_the_engine_of_another_node_pulls_for_the_owner(logged_in: Site, ann: User, docker: Docker) -> None:
    site = logged_in
    name = f"{site.two.daemon.authority}/{site.one.target_of(ann, site.of_ann)}"
    docker.pull(name)
    assert docker.run(name, "cat", "/secret") == "nobody but ann may read this\n"


def test_another_node_answers_the_user_and_nobody_else(logged_in: Site, ann: User, bob: User, carl: User) -> None:
    site = logged_in
    path = site.two.target_of(ann, site.of_ann)
    assert path == site.one.target_of(ann, site.of_ann)
    assert site.two.manifest(ann, path).status == 200
    for user in (bob, carl):
        assert site.two.manifest(user, path).status in (401, 403, 404)
        assert 400 <= site.two.ask(user, site.of_ann).status < 500


def test_the_audit_log_says_who(logged_in: Site, ann: User, carl: User) -> None:
    site = logged_in
    path = site.one.target_of(ann, site.of_ann)
    digest = site.one.manifest(ann, path).headers["docker-content-digest"]
    site.one.manifest(carl, path)
    site.one.daemon.get(nextflow.manifest_path(f"{site.one.daemon.authority}/{path}"), Accept=ACCEPT)

    def told(**members: object) -> list[dict[str, Any]]:
        return [line for line in audited(site.one) if members.items() <= line.items()]

    owner = f"uid:{ann.uid}"
    pulled = {"decision": "granted", "door": "registry", "uid": 0, "principal": owner, "digest": digest}
    wait_for(lambda: bool(told(**pulled)), "the line of a pull for its owner", 5)
    assert told(decision="login", uid=ann.uid, door="grpc", upstreams=[site.hosts["ann"]])
    asked, *_ = told(decision="granted", uid=ann.uid, door="v1alpha2", upstreams=[site.hosts["ann"]])
    assert asked["principal"] == owner
    assert told(decision="granted", uid=ann.uid, door="registry", plan=asked["plan"])
    refused, *_ = told(decision="refused", uid=carl.uid, door="registry", name=path)
    assert "another user" in refused["reason"]


def test_no_secret_lies_anywhere(logged_in: Site, ann: User) -> None:
    site = logged_in
    site.two.target_of(ann, site.of_ann)
    needles = [PASSWORDS[name].encode() for name in ("ann", "bob")]
    needles += [base64.b64encode(f"{name}:{PASSWORDS[name]}".encode()) for name in ("ann", "bob")]
    looked = {node.daemon.log_path: node.daemon.log_path.read_bytes() for node in (site.one, site.two)}
    looked |= contents(site.records, site.one.daemon.state, site.two.daemon.state)
    assert any("logins" in path.parts for path in looked)
    for path, content in looked.items():
        assert not [needle for needle in needles if needle in content], path


def test_taken_back_on_one_node_is_gone_from_all(logged_in: Site, bob: User) -> None:
    site = logged_in
    path = site.two.target_of(bob, site.of_bob)
    assert site.two.manifest(bob, path).status == 200
    before = len(list(site.records.rglob("logins/*/*")))
    assert site.two.call(bob, "logout")["count"] == 1
    assert len(list(site.records.rglob("logins/*/*"))) == before - 1
    time.sleep(TTL + 0.2)
    assert site.two.manifest(bob, path).status in (401, 403, 404)
    assert 400 <= site.two.ask(bob, site.of_bob).status < 500
