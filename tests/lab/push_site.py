"""A site that freezes and mirrors: a node, a registry that takes everybody's pushes, and one that asks for a login."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from groups import program
from lab import images, versions, zygote
from lab.conda_asks import CondaSite, done
from lab.daemon import Daemon, environment
from lab.http import Answer, request
from lab.processes import run
from lab.registry import PASSWORDS, Registry
from lab.users import User

VERSION = "25.10"
SAMTOOLS = "bioconda::samtools=1.17"
PATIENCE = 1.0
"""Seconds for which the node tries again what may pass: no test waits for more."""


@dataclass(frozen=True)
class PushSite:
    """See the module. `base` is an image of two platforms elsewhere; the site's own login may push below `site/`."""

    node: Daemon
    settings: dict[str, Any]
    records: Path
    target: Registry
    locked: Registry
    base: str

    @classmethod
    @contextlib.contextmanager
    def running(cls, root: Path, conda: CondaSite) -> Iterator[PushSite]:
        """Run the registries and the node within the block."""
        target, locked = Registry(root / "target"), Registry(root / "locked", accounts=("ann", "bob"))
        (root / "password").write_text(PASSWORDS["bob"])
        login = {"registry": f"{locked.host}/site", "username": "bob", "password_file": str(root / "password")}
        upstream = {"patience": PATIENCE, "tag_ttl": 1.0, "credentials": [login]}
        more = {"upstream": upstream, "freeze": {"repository": f"{locked.host}/site/frozen"}}
        settings, records = conda.settings(more=more), root / "records"
        node = Daemon(root / "node", settings=settings, WAVELET_RECORDS_DIRECTORY=records)
        with contextlib.ExitStack() as stack:
            for registry in (target, locked):
                stack.callback(registry.stop)
                registry.start()
            base = conda.registry.push("bases/two", "1.0", images.two_architectures(images.OCI))
            stack.callback(node.stop)
            yield cls(node.start(), settings, records, target, locked, base)

    def freeze(self, **fields: Any) -> dict[str, Any]:
        """Freeze; return the answer once the image is where it says."""
        return granted(self.node, freeze=True, **fields)

    @contextlib.contextmanager
    def logged_in(self, account: str) -> Iterator[None]:
        """Have the node hold a login of whoever runs the tests within the block, by `wavelet login`."""
        where = ("--socket", f"unix:{self.node.state / 'wavelet.sock'}")
        named = ("--username", account, "--password-stdin")
        command = (*zygote.PROGRAM, "login", self.locked.host, *named, *where)
        run(command, environment=environment({"HOME": "/nonexistent"}), text=PASSWORDS[account])
        try:
            yield
        finally:
            command = (*zygote.PROGRAM, "logout", self.locked.host, *where)
            run(command, environment=environment({"HOME": "/nonexistent"}))


def granted(node: Daemon, **fields: Any) -> dict[str, Any]:
    """Ask for what has to be granted, and done in the end; return the answer."""
    answer = versions.post(node, VERSION, **fields)
    pushed(node, answer)
    return dict(answer.json())


def refused(node: Daemon, **fields: Any) -> str:
    """Ask for what cannot be done; return why not, whether the answer or the status says it."""
    return why_not(node, versions.post(node, VERSION, **fields))


def pushed(node: Daemon, answer: Answer) -> str:
    """Return the name of what was asked for, once it is there."""
    assert answer.status == 200, answer.body
    state = done(node, answer.json()["requestId"])
    assert state["succeeded"] is True, state["reason"]
    return str(answer.json()["targetImage"])


def why_not(node: Daemon, answer: Answer) -> str:
    """Return why a request fails."""
    if answer.status != 200:
        return str(answer.json()["message"])
    state = done(node, answer.json()["requestId"])
    assert state["succeeded"] is False, state
    return str(state["reason"])


def post_as(user: User, node: Daemon, **fields: Any) -> Answer:
    """POST a request as this user."""
    body = json.dumps(versions.body(VERSION, **fields)).encode()
    headers = {"Content-Type": "application/json"}
    return user.request("POST", f"{node.url}/v1alpha2/container", headers=headers, body=body)


def crane(*arguments: str, **variables: str) -> str:
    """Run crane over plain http and return what it prints."""
    found = program("crane")
    assert found is not None
    command = [found, arguments[0], "--insecure", *arguments[1:]]
    return run(command, environment={"HOME": "/nonexistent", **variables}).stdout.strip()


def document(registry: Registry, repository: str, reference: str) -> Answer:
    """Return a manifest or index of a registry."""
    url = f"{registry.url}/v2/{repository}/manifests/{reference}"
    return request("GET", url, headers={"Accept": ", ".join(images.MANIFEST_TYPES)})


def requests_of(registry: Registry) -> dict[str, int]:
    """Count the requests about repositories that a registry has answered so far, by method."""
    return {method: registry.count("/v2/", method) for method in ("HEAD", "POST", "PATCH", "PUT", "DELETE")}
