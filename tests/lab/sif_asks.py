"""Asking a daemon for SIFs: as files over HTTP, and as ORAS and Apptainer pull them."""

from __future__ import annotations

from pathlib import Path

from lab import images
from lab.daemon import Daemon
from lab.http import Answer, request
from lab.processes import LabError
from lab.registry import Registry

MAKE_SECONDS = 120.0
ACCEPT = ", ".join(images.MANIFEST_TYPES)


def cached(node: Daemon, registry: Registry, name: str) -> str:
    """Return the name by which engines pull an image of a registry through the node."""
    return f"{node.authority}/{registry.host.replace(':', '_')}/{name}"


def file_url(name: str) -> str:
    """Return where the SIF is a file, of an image's name that engines can pull from the node."""
    authority, _, path = name.partition("/")
    return f"http://{authority}/sif/{path}.sif"


def sif_name(name: str) -> str:
    """Return the name by which the SIF is pulled, of an image's name that engines can pull from the node."""
    authority, _, path = name.partition("/")
    return f"{authority}/sif/{path}"


def ask(name: str, method: str = "GET", **headers: str) -> Answer:
    """Ask for the SIF of an image's name, and return the answer whatever it is."""
    sent = {each.replace("_", "-"): value for each, value in headers.items()}
    return request(method, file_url(name), headers=sent, seconds=MAKE_SECONDS)


def download(name: str, file: Path) -> Path:
    """Download the SIF of an image's name into a file."""
    answer = ask(name)
    if answer.status != 200:
        raise LabError(f"{file_url(name)} answered {answer.status}: {answer.body.decode('utf-8', 'replace')[:2000]}")
    file.write_bytes(answer.body)
    return file


def refusal(name: str) -> str:
    """Ask for a SIF that cannot be made, and return why: one message."""
    answer = ask(name)
    if answer.status < 400:
        raise LabError(f"{file_url(name)} answered {answer.status}")
    return answer.body.decode()


def digest(name: str) -> str:
    """Return the digest of the SIF of an image's name, by its manifest."""
    authority, _, path = sif_name(name).partition("/")
    repository, _, tag = path.rpartition(":")
    url = f"http://{authority}/v2/{repository}/manifests/{tag}"
    answer = request("GET", url, headers={"Accept": ACCEPT}, seconds=MAKE_SECONDS)
    if answer.status != 200:
        raise LabError(f"{url} answered {answer.status}: {answer.body.decode('utf-8', 'replace')[:2000]}")
    (layer,) = answer.json()["layers"]
    return str(layer["digest"])
