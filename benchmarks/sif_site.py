"""What all measures of SIFs share: asking for one, its first byte, and mksquashfs on the tree that it has."""

from __future__ import annotations

import http.client
import time
import urllib.parse
from dataclasses import dataclass
from pathlib import Path

from conda_site import SECONDS

from lab import nextflow, sif
from lab.conda_asks import packages
from lab.daemon import Daemon
from lab.processes import LabError, run

PENDING = (202, 503)
"""What is answered while it is not there yet."""


@dataclass(frozen=True)
class Asked:
    """Where a SIF is, and the seconds from the request until its first byte."""

    url: str
    seconds: float


def ask(daemon: Daemon, *specs: str, environment: str = "") -> Asked:
    """Ask for packages as Nextflow does whose endpoint is that of SIFs, and for the first byte of the file."""
    asked = packages(*specs, environment=environment)
    started = time.monotonic()
    answer = nextflow.post(daemon, path="/sif/v1alpha2/container", packages=asked)
    if answer.status != 200:
        raise LabError(f"POST answered {answer.status}: {answer.body.decode('utf-8', 'replace')}")
    url = answer.json()["targetImage"]
    await_first_byte(url, started + SECONDS)
    return Asked(url, time.monotonic() - started)


def seconds_to_first_byte(url: str) -> float:
    """Return the seconds until the first byte of a SIF is there."""
    started = time.monotonic()
    await_first_byte(url, started + SECONDS)
    return time.monotonic() - started


def await_first_byte(url: str, until: float) -> None:
    """Return with the first byte of a SIF; the rest is not read."""
    parts = urllib.parse.urlsplit(url)
    while True:
        connection = http.client.HTTPConnection(parts.netloc, timeout=SECONDS)
        try:
            connection.request("GET", parts.path)
            answer = connection.getresponse()
            if answer.status == 200 and answer.read(1):
                return
            if answer.status not in PENDING or time.monotonic() > until:
                raise LabError(f"{url}: {answer.status} {answer.read().decode('utf-8', 'replace')}")
        finally:
            connection.close()
        time.sleep(0.01)


def download(url: str, file: Path) -> Path:
    """Download a SIF."""
    run(["curl", "--silent", "--show-error", "--fail", "--noproxy", "*", "--output", file, url], seconds=SECONDS)
    return file


def unpacked(file: Path) -> Path:
    """Unpack the tree of a SIF beside it."""
    return sif.unpacked(file, file.with_name(f"{file.name}-tree"))


def mksquashfs(tree: Path, image: Path) -> float:
    """Make a squashfs image of a tree, compressed as SIFs are; return the seconds that it takes."""
    started = time.monotonic()
    run(["mksquashfs", tree, image, "-comp", "gzip", "-noappend", "-quiet", "-no-progress"], seconds=2 * SECONDS)
    return time.monotonic() - started
