"""`wavelet pull --oci` and `--unpack`: images as they are, in files, and as a tree of files."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from wavelet.cli import daemon_call
from wavelet.cli.progress import progress
from wavelet.cli.pull import root_filesystem
from wavelet.cli.pull.daemon_http import DaemonHttp
from wavelet.cli.pull.download import Report
from wavelet.cli.pull.jobs import Job, run_all
from wavelet.cli.pull.oci_layout import OciLayout
from wavelet.cli.pull.outcomes import failed, outcome, sentence, show
from wavelet.cli.pull.own_names import as_caller
from wavelet.cli.pull.registry_image import ImageName, RegistryImage
from wavelet.client import Client
from wavelet.client.sif import http_address
from wavelet.errors import InvalidRequest, WaveletError
from wavelet.image.reference import DEFAULT_PLATFORM, Digest, Platform
from wavelet.quantities import size

AT_ONCE = 3
"""Images at one time where nobody says."""


@dataclass(frozen=True, slots=True)
class Taken:
    """An image that is there: where, what it is, and its size in bytes."""

    place: str
    digest: Digest
    size: int


@dataclass(frozen=True, slots=True)
class _Asked:
    """How images are asked for."""

    client: Client
    daemon: DaemonHttp
    authority: str
    platform: Platform

    @classmethod
    def of(cls, client: Client, options: argparse.Namespace) -> _Asked:
        status = client.status()
        deadline = None if options.timeout is None else time.monotonic() + options.timeout
        return cls(client, DaemonHttp(http_address(status), deadline), status.authority, _platform(options))

    def find(self, image: str) -> RegistryImage:
        def ask(name: str) -> RegistryImage:
            return RegistryImage.find(self.daemon, ImageName.parse(name, self.authority), self.platform)

        return as_caller(self.client, image, str(self.platform), ask)


def pull_layout(options: argparse.Namespace, images: Sequence[str]) -> int:
    """Add images to the OCI layout that `--oci` names; 1 if one failed.

    Raises:
        InvalidRequest: something else is there.
        FileError: it cannot be made.
    """
    _platform(options)
    layout = OciLayout(Path(options.oci))
    layout.prepare()

    def act(client: Client) -> int:
        asked = _Asked.of(client, options)

        def take(image: str, report: Report) -> Taken:
            found = asked.find(image)
            reference, digest = layout.add(found, report)
            return Taken(f"{options.oci}:{reference}", digest, found.size)

        jobs = [Job(image, image) for image in images]
        return _show(jobs, run_all(jobs, options.concurrency or AT_ONCE, take, _said), options.output)

    return daemon_call.call(options, act)


def pull_tree(options: argparse.Namespace, images: Sequence[str]) -> int:
    """Unpack one image into the directory that `--unpack` names; 1 if that failed.

    Raises:
        InvalidRequest: there are several, or files are there.
        FileError: it cannot be made.
    """
    _platform(options)
    if len(images) != 1:
        raise InvalidRequest(f"--unpack: is the directory of one image, and {len(images)} are named")
    directory, job = Path(options.unpack), Job(images[0], images[0])
    root_filesystem.prepare(directory)

    def act(client: Client) -> int:
        asked = _Asked.of(client, options)
        with progress() as shown:
            ended = _take_tree(asked, job.name, directory, lambda *far: shown.update(job.name, *far, in_bytes=True))
            shown.end(job.name)
            shown.say(f"{job.name}: {_said(ended)}")
        return _show([job], [ended], options.output)

    return daemon_call.call(options, act)


def _take_tree(asked: _Asked, image: str, directory: Path, report: Report) -> Taken | WaveletError:
    """Unpack an image in this thread, so that whoever interrupts it leaves nothing behind."""
    try:
        found = asked.find(image)
        root_filesystem.unpack(found, directory, report)
    except WaveletError as error:
        return error
    return Taken(str(directory), found.digest, found.size)


def _show(jobs: Sequence[Job[str]], results: Sequence[Taken | WaveletError], form: str) -> int:
    outcomes = [
        failed(job.name, result)
        if isinstance(result, WaveletError)
        else outcome(job.name, result.place, digest=result.digest, size=result.size)
        for job, result in zip(jobs, results, strict=True)
    ]
    return show(outcomes, form)


def _said(result: Taken | WaveletError) -> str:
    return sentence(result) if isinstance(result, WaveletError) else f"there, {size(result.size)}"


def _platform(options: argparse.Namespace) -> Platform:
    """Return the platform that is asked for.

    Raises:
        InvalidRequest: there are several, or it is none.
    """
    if len(options.platform) > 1:
        raise InvalidRequest("--platform: files are for one platform")
    return Platform.parse(options.platform[0], "--platform") if options.platform else DEFAULT_PLATFORM
