"""The note on a name that tasks may not reach: one of this node's own, where they run on other machines. Pure.

A request does not say which executor its tasks have. What it does say is Fusion, which needs an object storage as work
directory, or the layer that Nextflow adds for AWS Fargate; with either of them tasks run mostly in a cloud.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from posixpath import basename
from urllib.parse import urlsplit

from wavelet.plan.node import ContainerConfig, Node
from wavelet.requests.request import Request

FUSION = "fusion"
"""What Fusion's program is called, or the directory of its entry point in its first versions, and what begins the names
of its layers' files."""

FARGATE = "s5cmd"
"""What begins the name of the layer's file that Nextflow adds for AWS Fargate."""


def noting_reach(request: Request) -> Request:
    """Return a request, to which the site's rules were applied, with the note if there is one to make."""
    delivery = request.effective.delivery
    if delivery is None or delivery.repository is not None:
        return request
    added = _added(request.effective)
    return request if not added else replace(request, about=request.about.noting(_note(added)))


def _note(added: str) -> str:
    return (
        f"wave.freeze (freeze): {added} is added, with which tasks mostly run on other machines, in a cloud or on "
        "Kubernetes; this name is answered by this node, and by those that share records.directory, alone. For tasks "
        "elsewhere name wave.build.repository, or have the site set freeze.repository: then it is pushed there"
    )


def _added(plan: Node) -> str:
    """Return what is added that tells where tasks run; empty: nothing."""
    config = plan.description.config
    if config is None:
        return ""
    names = [name.lower() for name in _names(config)]
    if any(name.startswith(FUSION) for name in names):
        return "Fusion"
    return "s5cmd, as for AWS Fargate," if any(name.startswith(FARGATE) for name in names) else ""


def _names(config: ContainerConfig) -> Iterator[str]:
    """Yield the names of the entry point's program and directory, and of files that layers come from."""
    for program in config.entrypoint[:1]:
        yield from program.split("/")[-2:]
    for layer in config.layers:
        yield basename(urlsplit(layer.location).path)
