"""Container requests as an unchanged Nextflow 24.10 sends them: every member present, unset ones null."""

from __future__ import annotations

import json
from typing import Any

from lab.daemon import Daemon
from lab.http import Answer, request
from lab.processes import LabError

_UNSET = [
    "towerAccessToken",
    "towerRefreshToken",
    "towerWorkspaceId",
    "containerImage",
    "containerFile",
    "condaFile",
    "spackFile",
    "buildRepository",
    "cacheRepository",
    "format",
    "workflowId",
    "containerIncludes",
    "packages",
    "nameStrategy",
    "scanMode",
    "scanLevels",
]
_CONFIG = ("entrypoint", "cmd", "env", "workingDir", "layers")


def body(**fields: Any) -> dict[str, Any]:
    """Return a request body; `config` holds the members of `containerConfig` that are set."""
    config = dict.fromkeys(_CONFIG) | fields.pop("config", {})
    fixed = {
        "towerEndpoint": "https://api.cloud.seqera.io",
        "containerConfig": config,
        "containerPlatform": "linux/amd64",
        "timestamp": "2026-11-22T14:21:58.514991324Z",
        "fingerprint": "9b0e2d8164fb6166b3c5177c6f82a5e4",
        "freeze": False,
        "dryRun": False,
        "mirror": False,
    }
    return dict.fromkeys(_UNSET) | fixed | fields


def post(daemon: Daemon, *, path: str = "/v1alpha2/container", **fields: Any) -> Answer:
    """POST a container request and return the answer, whatever its status."""
    headers = {"Content-Type": "application/json", "User-Agent": "Java-http-client/17.0.15"}
    return request("POST", daemon.url + path, headers=headers, body=json.dumps(body(**fields)).encode())


def ask(daemon: Daemon, **fields: Any) -> dict[str, Any]:
    """POST a container request that has to be granted, and return the answer's members."""
    answer = post(daemon, **fields)
    if answer.status != 200:
        raise LabError(f"POST answered {answer.status}: {answer.body.decode('utf-8', 'replace')}")
    return dict(answer.json())


def target(daemon: Daemon, image: str, **fields: Any) -> str:
    """Ask for `image` and return the name by which engines pull what was asked for."""
    return str(ask(daemon, containerImage=image, **fields)["targetImage"])


def manifest_path(name: str) -> str:
    """Return the registry path of a pullable name's manifest: `HOST/path:tag` or `HOST/path@digest`."""
    path = name.partition("/")[2]
    repository, _, reference = path.partition("@") if "@" in path else path.rpartition(":")
    return f"/v2/{repository}/manifests/{reference}"


def blob_path(name: str, digest: str) -> str:
    """Return the registry path of a blob under a pullable name."""
    return manifest_path(name).partition("/manifests/")[0] + f"/blobs/{digest}"


def tags_path(name: str) -> str:
    """Return the registry path of the tag list under a pullable name."""
    return manifest_path(name).partition("/manifests/")[0] + "/tags/list"
