"""What versions of Nextflow post for a process: the members that each has, and the container files of older ones."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from lab.conda_asks import in_base64
from lab.daemon import Daemon
from lab.http import Answer, request
from lab.nextflow import body as body_of_24_10

POSTING_V1 = ("23.04", "23.10")
"""Versions that post to `/container-token`."""

VERSIONS = (*POSTING_V1, "24.04", "24.10", "25.04", "25.10", "26.04")

CHANNELS = ("conda-forge", "bioconda")

_SINCE = {
    "24.04": ("containerIncludes", "packages"),
    "23.10": ("spackFile", "freeze", "format", "dryRun"),
    "24.10": ("nameStrategy", "mirror", "scanMode", "scanLevels"),
    "25.04": ("buildCompression",),
    "26.04": ("buildTemplate",),
}
"""Members by the version that brought them."""

_CONDA_FILE = """channels:
{channels}
dependencies:
{specs}
"""
_FILE_OF_23_10 = r"""FROM mambaorg/micromamba:1.5.1
COPY --chown=$MAMBA_USER:$MAMBA_USER conda.yml /tmp/conda.yml
RUN micromamba install -y -n base -f /tmp/conda.yml \
    && micromamba install -y -n base conda-forge::procps-ng \
    && micromamba clean -a -y
USER root
"""
_FILE_OF_23_04 = r"""FROM mambaorg/micromamba:1.4.1
RUN \
    micromamba install -y -n base {channels} \
    {specs} \
    && micromamba clean -a -y
"""


def body(version: str, *, entries: Sequence[str] = (), **fields: Any) -> dict[str, Any]:
    """Return the body of a request; `entries` are of the conda directive, `fields` are as `lab.nextflow` has them.

    What a version does not have is not sent, whatever is set.
    """
    members = body_of_24_10(**fields) | {"buildCompression": None, "buildTemplate": None}
    if entries:
        members |= _packages(version, entries)
    if version >= "25.10":
        members = {name: value for name, value in members.items() if name not in ("condaFile", "spackFile")}
    later = {name for since, names in _SINCE.items() if since > version for name in names}
    return {name: value for name, value in members.items() if name not in later}


def _packages(version: str, entries: Sequence[str]) -> dict[str, Any]:
    if version == "23.04":
        text = _FILE_OF_23_04.format(channels=" ".join(f"-c {name}" for name in CHANNELS), specs=" ".join(entries))
        return {"containerFile": in_base64(text)}
    if version == "23.10":
        lines = {"channels": CHANNELS, "specs": entries}
        text = _CONDA_FILE.format(**{what: "\n".join(f"- {each}" for each in lines[what]) for what in lines})
        return {"containerFile": in_base64(_FILE_OF_23_10), "condaFile": in_base64(text)}
    options = {
        "mambaImage": "mambaorg/micromamba:1.5.10-noble",
        "commands": None,
        "basePackages": "conda-forge::procps-ng",
    }
    packages = {"type": "CONDA", "environment": None, "entries": list(entries), "channels": list(CHANNELS)}
    return {"packages": packages | {"condaOpts": options, "spackOpts": None}}


def post(daemon: Daemon, version: str, **fields: Any) -> Answer:
    """POST a request as a version does; return the answer, whatever its status."""
    return post_body(daemon, version, body(version, **fields))


def post_body(daemon: Daemon, version: str, members: dict[str, Any]) -> Answer:
    """POST a body as a version does."""
    path = "/container-token" if version.startswith(POSTING_V1) else "/v1alpha2/container"
    headers = {"Content-Type": "application/json", "User-Agent": "Java-http-client/17.0.15"}
    return request("POST", daemon.url + path, headers=headers, body=json.dumps(members).encode())


def ask(daemon: Daemon, version: str, **fields: Any) -> dict[str, Any]:
    """POST a request that has to be granted; return the answer's members."""
    answer = post(daemon, version, **fields)
    assert answer.status == 200, (version, answer.body)
    return dict(answer.json())
