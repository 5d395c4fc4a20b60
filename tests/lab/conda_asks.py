"""Asking a daemon for images of conda packages as Nextflow does, and looking at what comes of it."""

from __future__ import annotations

import base64
import gzip
import io
import json
import tarfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab import images, nextflow
from lab.conda_channel import ChannelServer
from lab.daemon import Daemon
from lab.http import Answer
from lab.processes import LabError, wait_for
from lab.registry import Registry

DONE_SECONDS = 40.0
CHANNEL = "conda-forge"
ACCEPT = ", ".join(images.MANIFEST_TYPES)
CLIENTS_OPTIONS = {
    "mambaImage": "mambaorg/micromamba:1.5.10-noble",
    "commands": None,
    "basePackages": "conda-forge::procps-ng",
}
"""What Nextflow 24.10 fills in by itself."""


@dataclass(frozen=True)
class CondaSite:
    """A base image in a registry and a server of channels, and daemons' settings for both."""

    registry: Registry
    server: ChannelServer
    base: str

    def settings(self, *, more: Mapping[str, Any] | None = None, **conda: Any) -> dict[str, Any]:
        """Return a daemon's settings, those of its section `conda` changed by `conda`."""
        section = {"base_image": self.base, "channel_alias": self.server.url, "base_packages": []}
        return {"conda": section | {"channels": [CHANNEL], "workers": 2} | conda} | dict(more or {})


def in_base64(text: str) -> str:
    """Return a text as Wave's members carry it."""
    return base64.b64encode(text.encode()).decode()


def packages(*entries: str, environment: str = "", channels: Sequence[str] = (CHANNEL,)) -> dict[str, Any]:
    """Return the member `packages` as Nextflow 24.10 writes it, of entries or of a file's text."""
    return {
        "type": "CONDA",
        "environment": in_base64(environment) if environment else None,
        "entries": list(entries) or None,
        "condaOpts": CLIENTS_OPTIONS,
        "spackOpts": None,
        "channels": list(channels),
    }


def post(
    node: Daemon, *entries: str, environment: str = "", channels: Sequence[str] = (CHANNEL,), **more: Any
) -> Answer:
    """Ask for packages; return the answer, whatever its status. `more` are further members of the body."""
    return nextflow.post(node, packages=packages(*entries, environment=environment, channels=channels), **more)


def ask(
    node: Daemon, *entries: str, environment: str = "", channels: Sequence[str] = (CHANNEL,), **more: Any
) -> dict[str, Any]:
    """Ask for packages, which has to be granted; return the answer's members."""
    return nextflow.ask(node, packages=packages(*entries, environment=environment, channels=channels), **more)


def status(node: Daemon, token: str) -> dict[str, Any]:
    """Return the state of a request."""
    return dict(node.get(f"/v1alpha2/container/{token}/status").json())


def done(node: Daemon, token: str, seconds: float = DONE_SECONDS) -> dict[str, Any]:
    """Return the state of a request once it is decided."""
    limit = time.monotonic() + seconds
    while (state := status(node, token))["status"] != "DONE":
        if time.monotonic() > limit:
            raise LabError(f"{state} after {seconds:.0f} s")
        time.sleep(0.05)
    return state


def why_not(node: Daemon, answer: Answer) -> str:
    """Return why a request cannot be answered: its answer's message, or the first reason of its status."""
    if answer.status != 200:
        told = answer.json()
        return "\n".join([told["message"], *told.get("details", [])])
    token = answer.json()["requestId"]
    reasons: list[str] = []

    def told() -> bool:
        reasons.append(status(node, token).get("reason", ""))
        return bool(reasons[-1])

    wait_for(told, "a reason", DONE_SECONDS)
    return reasons[-1]


def made(node: Daemon, *entries: str, **more: Any) -> str:
    """Ask for packages, wait, and return the name by which engines pull the image."""
    answer = ask(node, *entries, **more)
    state = done(node, answer["requestId"])
    if state["succeeded"] is not True:
        raise LabError(f"not made: {state}")
    return str(answer["targetImage"])


def manifest(node: Daemon, name: str) -> dict[str, Any]:
    """Return the manifest or index of a pullable name, its digest held against its bytes."""
    answer = node.get(nextflow.manifest_path(name), Accept=ACCEPT)
    if answer.status != 200:
        raise LabError(f"{name} answered {answer.status}: {answer.body.decode('utf-8', 'replace')}")
    assert answer.headers["docker-content-digest"] == images.sha256(answer.body)
    return dict(answer.json())


def digest(node: Daemon, name: str) -> str:
    """Return the digest of a pullable name's manifest."""
    answer = node.get(nextflow.manifest_path(name), Accept=ACCEPT)
    if answer.status != 200:
        raise LabError(f"{name} answered {answer.status}: {answer.body.decode('utf-8', 'replace')}")
    return images.sha256(answer.body)


def blob(node: Daemon, name: str, of: str) -> bytes:
    """Return a blob of a pullable name, its digest held against its bytes."""
    answer = node.get(nextflow.blob_path(name, of))
    if answer.status != 200:
        raise LabError(f"{of} answered {answer.status}: {answer.body.decode('utf-8', 'replace')}")
    assert images.sha256(answer.body) == of
    return answer.body


def config(node: Daemon, name: str, document: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the configuration of an image."""
    return dict(json.loads(blob(node, name, (document or manifest(node, name))["config"]["digest"])))


def layers(node: Daemon, name: str, document: Mapping[str, Any] | None = None) -> list[bytes]:
    """Return an image's layers as tars, the base's first, each held against its diff ID."""
    document = document or manifest(node, name)
    tars = [gzip.decompress(blob(node, name, layer["digest"])) for layer in document["layers"]]
    assert [images.sha256(tar) for tar in tars] == config(node, name, document)["rootfs"]["diff_ids"]
    return tars


def files(tars: Sequence[bytes]) -> dict[str, bytes]:
    """Return the regular files of layers by path, later layers over earlier ones (hard links by their content)."""
    found: dict[str, bytes] = {}
    for data in tars:
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            for member in tar:
                if member.isfile() or member.islnk():
                    extracted = tar.extractfile(member)
                    assert extracted is not None
                    found[member.name.removeprefix("./")] = extracted.read()
    return found


def lock(node: Daemon, build: str, form: str = "explicit", platform: str = "") -> str:
    """Return a build's lock."""
    answer = node.get(f"/v1alpha1/builds/{build}/condalock?format={form}" + (f"&platform={platform}" * bool(platform)))
    if answer.status != 200:
        raise LabError(f"the lock of {build} answered {answer.status}: {answer.body.decode('utf-8', 'replace')}")
    return answer.body.decode()


def build_log(node: Daemon, build: str) -> str:
    """Return the log of a build so far, empty while there is none."""
    answer = node.get(f"/v1alpha1/builds/{build}/logs")
    return answer.body.decode() if answer.status == 200 else ""


def credentials_file(path: Path, host: str, entry: Mapping[str, Any]) -> Path:
    """Write rattler's file of logins, with one entry."""
    path.write_text(json.dumps({host: entry}))
    path.chmod(0o600)
    return path
