"""Makes `state_0.2.0.tar.xz`: what version 0.2.0 leaves on a node and in its cluster's directory. It is made once.

    cd tests && PYTHONPATH=. WAVELET=PATH-OF-THAT-VERSION'S-WAVELET ../.venv/bin/python -m releases.make_state VERSION

It takes root, for scripts of packages run in namespaces of the kernel, and `docker-registry`. Two nodes are asked the
same, one alone and one of a cluster; each is then stopped. A later version has a file of its own.
"""

from __future__ import annotations

import json
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lab import conda_asks, images, nextflow
from lab.conda_channel import ChannelServer, make_channel
from lab.conda_packages import Package, script, text
from lab.daemon import Daemon
from lab.registry import PASSWORDS, Registry
from lab.task_image import task_image
from releases.state import HERE, KEY, PROGRAM, REGISTRY, settings, wavelet

LARGE = 100_000
"""Bytes above which a blob is evicted before the end: the fixture is to be small."""

TINY = images.layer({"etc/lab": b"an image with nothing in it\n"})
ADDED = images.layer({"opt/added": b"came with the request\n"})
LINK = '#!/bin/bash\nset -eu\necho "$PKG_NAME $PKG_VERSION" > "$PREFIX/post-linked"\n'


def packages() -> list[Package]:
    """Return the channel's packages."""
    alone = [Package(name, files={f"share/{name}": text(f"{name}\n")}) for name in ("one", "two", "three")]
    depends = Package("both", files={"share/both": text("both\n")}, depends=("one", "two"))
    linked = Package("post-link-tool", files={"bin/.post-link-tool-post-link.sh": script(LINK)})
    return [*alone, depends, linked]


def tool(text: str) -> images.Image:
    """Return an image of a program that says something."""
    return images.image([TINY, images.layer({"opt/tool": text.encode()})], family=images.OCI)


class Asking:
    """Asks a daemon for one of each kind, and writes down what it answers."""

    def __init__(self, daemon: Daemon, registry: Registry) -> None:
        self.daemon = daemon
        self.registry = registry
        self.names: dict[str, Any] = {}
        self.builds: dict[str, Any] = {}

    def note(self, what: str, path: str) -> None:
        """Pull the image at the path of a manifest, all of it."""
        answer = self.daemon.get(path, Accept=conda_asks.ACCEPT)
        assert answer.status == 200, (what, answer.body)
        blobs = [each["digest"] for each in (answer.json()["config"], *answer.json()["layers"])]
        repository = path.partition("/manifests/")[0]
        for digest in blobs:
            assert self.daemon.get(f"{repository}/blobs/{digest}").status == 200
        self.names[what] = {"path": path, "digest": images.sha256(answer.body), "blobs": blobs}

    def request(self, what: str, **fields: Any) -> dict[str, Any]:
        """Send a container request and pull what it names; return the answer."""
        answer = nextflow.ask(self.daemon, **fields)
        self.note(what, nextflow.manifest_path(answer["targetImage"]))
        self.names[what] |= {"token": answer["requestId"], "asked": fields, "name": answer["targetImage"]}
        return answer

    def packages(self, what: str, *specs: str, base: str = "") -> None:
        """Ask for packages."""
        asked = conda_asks.packages(*specs)
        asked["condaOpts"] = {"baseImage": base} if base else {}
        build = self.request(what, packages=asked)["buildId"]
        self.builds[what] = {"id": build, "lock": conda_asks.lock(self.daemon, build)}

    def all(self) -> None:
        """Ask for one of each kind."""
        tag = f"{REGISTRY}/lab/tool:1"
        self.note("a name of a registry", f"/v2/{REGISTRY}/lab/tool/manifests/1")
        digest = self.names["a name of a registry"]["digest"]
        self.note("a digest of a registry", f"/v2/{REGISTRY}/lab/tool/manifests/{digest}")
        self.request("an image", containerImage=tag)
        self.request("an image by its digest", containerImage=f"{REGISTRY}/lab/tool@{digest}")
        config = {"env": ["A=1"], "entrypoint": ["/opt/entry"], "layers": [ADDED.in_request()]}
        self.request("an augmented image", containerImage=tag, config=config)
        self.request("an image with another's layers", containerImage=tag, containerIncludes=[f"{REGISTRY}/lab/more:1"])
        self.moved()
        self.undecided()
        self.packages("packages", "both")
        self.packages("packages with a script", "post-link-tool", base=f"{REGISTRY}/lab/task:1")
        self.request("augmented packages", packages=conda_asks.packages("three"), config={"env": ["A=1"]})
        self.note("packages by their name", "/v2/conda/one/two/manifests/latest")
        refused = nextflow.post(self.daemon, containerImage="not//a name")
        assert refused.status == 400

    def moved(self) -> None:
        """Ask for an image by a tag, before and after this moves: the name before goes on answering what it did."""
        image = f"{REGISTRY}/lab/moving:1"
        self.registry.push("lab/moving", "1", tool("before\n"))
        self.request("an image whose tag has moved since", containerImage=image)
        self.registry.push("lab/moving", "1", tool("after\n"))
        time.sleep(0.1)
        self.request("an image whose tag has moved", containerImage=image)
        assert (
            self.names["an image whose tag has moved"]["name"]
            != self.names["an image whose tag has moved since"]["name"]
        )

    def undecided(self) -> None:
        """Ask for an image while the registry is away: the name is given before it is known what it answers."""
        self.registry.stop()
        answer = nextflow.ask(self.daemon, containerImage=f"{REGISTRY}/lab/late:1")
        self.registry.start()
        self.note("a name given before its answer was known", nextflow.manifest_path(answer["targetImage"]))
        self.names["a name given before its answer was known"] |= {
            "token": answer["requestId"],
            "name": answer["targetImage"],
        }


def tidy(daemon: Daemon, told: dict[str, Any]) -> None:
    """Evict what is large, pin one image, and write down what is listed."""
    daemon.stop()
    daemon.start()  # which removes the directories that scripts have started from
    large = [each["digest"] for each in wavelet(daemon, "cache", "ls", "--blobs") if int(each["size"]) > LARGE]
    wavelet(daemon, "cache", "gc", *large)
    wavelet(daemon, "cache", "pin", f"{REGISTRY}/lab/tool:1")
    told["images"] = wavelet(daemon, "cache", "ls")
    told["blobs"] = sorted(each["digest"] for each in wavelet(daemon, "cache", "ls", "--blobs"))
    told["requests"] = wavelet(daemon, "requests", "-a", "-n", "500")


@contextmanager
def servers(directory: Path) -> Iterator[tuple[Registry, ChannelServer]]:
    """Run what the nodes ask."""
    registry = Registry(directory / "registry")
    registry.start()
    registry.push("lab/base", "1", images.image([TINY], family=images.OCI))
    registry.push("lab/task", "1", task_image())
    registry.push("lab/tool", "1", tool("a tool\n"))
    registry.push("lab/more", "1", tool("more\n"))
    registry.push("lab/late", "1", tool("late\n"))
    channel = make_channel(directory / "channel", packages())
    try:
        with ChannelServer({conda_asks.CHANNEL: channel}) as server:
            yield registry, server
    finally:
        registry.stop()


def leave(root: Path, name: str, registry: Registry, server: ChannelServer) -> dict[str, Any]:
    """Run a node, ask it, stop it, and return what it answered; `node` has a shared directory."""
    shared = {"records": {"directory": str(root / "shared")}} if name == "node" else {}
    keep = root / ("shared" if shared else name)
    keep.mkdir(parents=True)
    (keep / "cluster.key").write_bytes(KEY)
    (keep / "cluster.key").chmod(0o600)
    given = settings(registry.url, server.url) | shared
    given["conda"] |= {"engine": "namespace"}
    given["upstream"] |= {"tag_ttl": 0.05}
    daemon = Daemon(root / name, settings=given, program=PROGRAM)
    daemon.start()
    try:
        asking = Asking(daemon, registry)
        asking.all()
        told: dict[str, Any] = {"names": asking.names, "builds": asking.builds}
        if shared:
            login = ("login", "registry.example", "-u", "ann", "--password-stdin", "--unchecked", "--lifetime", "7d")
            wavelet(daemon, *login, text=PASSWORDS["ann"])
        daemon.settle()
        tidy(daemon, told)
    finally:
        assert daemon.stop() == 0, daemon.log()
    return told


def pack(root: Path, to: Path) -> None:
    """Write a tar whose members are in order, and nobody's."""

    def anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.uid = member.gid = 0
        member.uname = member.gname = ""
        return member

    with tarfile.open(to, "w:xz", preset=9, format=tarfile.PAX_FORMAT) as tar:
        for path in sorted(root.rglob("*")):
            if path.is_dir() or path.is_file():
                tar.add(path, str(path.relative_to(root)), recursive=False, filter=anonymous)


def main(version: str) -> None:
    """Make the file."""
    with tempfile.TemporaryDirectory() as directory:
        made = Path(directory) / "made"
        with servers(Path(directory)) as (registry, server):
            told = {name: leave(made, name, registry, server) for name in ("alone", "node")}
        for path in made.glob("*.log"):
            path.unlink()
        for path in made.glob("*.yaml"):
            path.unlink()
        (made / "told.json").write_text(json.dumps(told | {"stopped": time.time()}, indent=1), "utf-8")
        pack(made, HERE / f"state_{version}.tar.xz")


if __name__ == "__main__":
    main(sys.argv[1])
