"""`wavelet pull --sif` and `--sif-dir`: images as SIF files, which the daemon puts together and serves."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from wavelet.cli import daemon_call
from wavelet.cli.input_files import STDIN
from wavelet.cli.output import visible
from wavelet.cli.pull.containers import Container, path_of, read_container
from wavelet.cli.pull.daemon_http import DaemonHttp
from wavelet.cli.pull.download import Fetched, Report, download
from wavelet.cli.pull.jobs import Job, run_all
from wavelet.cli.pull.outcomes import Outcome, failed, outcome, sentence, show
from wavelet.cli.pull.own_names import as_caller
from wavelet.cli.pull.sif_directory import SifDirectory
from wavelet.client import Client
from wavelet.client.sif import http_address
from wavelet.errors import InvalidName, InvalidRequest, WaveletError
from wavelet.image.reference import Platform
from wavelet.quantities import size

AT_ONCE = 3
"""Files that are fetched at one time where nobody says."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file that is to be fetched."""

    container: Container
    file: Path


@dataclass(slots=True)
class _Plan:
    """What a list comes to: the outcomes that are known already, by their place in it, and what is to be fetched."""

    known: dict[int, Outcome] = field(default_factory=dict)
    wanted: dict[int, Wanted] = field(default_factory=dict)
    same: dict[int, int] = field(default_factory=dict)
    """Other spellings of what is wanted, as `docker://x` is of `x`: their places, and its."""


def pull_file(options: argparse.Namespace, images: Sequence[str]) -> int:
    """Fetch one image into the file that `--sif` names; 1 if that failed.

    Raises:
        InvalidRequest: there are several, or it is a file already, or the file is standard output.
        InvalidName: it is no name.
    """
    if len(images) != 1:
        raise InvalidRequest(f"--sif: is the file of one image, and {len(images)} are named; --sif-dir takes several")
    if options.sif == STDIN:
        raise InvalidRequest("--sif: - is no file, and a SIF is not written to standard output; name a file")
    container = read_container(images[0], options.registry, lambda _: False)
    if container is None:
        raise InvalidRequest(f"IMAGE: {images[0]} is a file")
    wanted = {0: Wanted(container, Path(options.sif))}
    return daemon_call.call(options, lambda client: show(_fetch(client, options, wanted, None), options.output))


def pull_directory(options: argparse.Namespace, images: Sequence[str]) -> int:
    """Fetch what a directory lacks; 1 if one failed. Where it lacks nothing, no daemon is called.

    Raises:
        InvalidRequest: the directory cannot be made, or a list is named as if it were an image.
    """
    for named in options.images:
        if named != STDIN and _is_text(named):
            raise InvalidRequest(f"IMAGE: {named} is a text file and no image; a list of images is --file {named}")
    directory = SifDirectory(Path(options.sif_dir))
    plan = _planned(images, directory, options.registry, _platform(options))
    if not plan.wanted:
        return show([plan.known[index] for index in sorted(plan.known)], options.output)
    directory.prepare()

    def act(client: Client) -> int:
        ended = dict(zip(plan.wanted, _fetch(client, options, plan.wanted, directory), strict=True)) | plan.known
        ended |= {index: ended[first] | {"image": images[index]} for index, first in plan.same.items()}
        return show([ended[index] for index in sorted(ended)], options.output)

    return daemon_call.call(options, act)


def _planned(images: Sequence[str], directory: SifDirectory, registry: str, platform: str) -> _Plan:
    plan, exists = _Plan(), os.path.exists  # which of no text raises an error
    taken: dict[str, tuple[int, str]] = {}
    for index, text in enumerate(images):
        try:
            container = read_container(text, registry, exists)
        except InvalidName as error:
            plan.known[index] = _refused(text, error)
            continue
        if container is None:
            file = text.removeprefix("file://")
            _note(text, "a file, which is used where it is" + ("" if exists(file) else "; it is not there now"))
            plan.known[index] = outcome(text, file)
            continue
        name = container.file_name
        place, first = taken.setdefault(name, (index, container.name))
        if first != container.name:
            same = InvalidRequest(
                f"Nextflow looks for it under the name that {first} has too, {name}; pull it elsewhere"
            )
            plan.known[index] = _refused(text, same)
            continue
        if place in plan.wanted:
            plan.same[index] = place
            continue
        state, fetched = directory.find(name, platform)
        if state == "missing":
            plan.wanted[index] = Wanted(container, directory.file(name))
        else:
            if state == "foreign":
                _note(text, f"{name} is there, and wavelet has not made it; it is left as it is")
            plan.known[index] = _there(text, directory.file(name), fetched)
    return plan


def _is_text(path: str) -> bool:
    """Tell whether a path is a file of text: no image, whatever its form, is without a zero byte at its beginning."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - a name may be no path
            return b"\0" not in file.read(4096)
    except (OSError, ValueError):
        return False


def _there(text: str, file: Path, fetched: Fetched | None) -> Outcome:
    return outcome(text, str(file), digest=fetched.digest, size=fetched.size) if fetched else outcome(text, str(file))


def _fetch(
    client: Client, options: argparse.Namespace, wanted: dict[int, Wanted], directory: SifDirectory | None
) -> list[Outcome]:
    status = client.status()
    deadline = None if options.timeout is None else time.monotonic() + options.timeout
    daemon, platform = DaemonHttp(http_address(status), deadline), _platform(options)

    def act(one: Wanted, report: Report) -> Fetched:
        def take(image: str) -> Fetched:
            return download(daemon, path_of(image, status.authority, platform), one.file, report)

        if one.container.image:
            fetched = as_caller(client, one.container.image, platform, take)
        else:
            fetched = download(daemon, one.container.path(status.authority, platform), one.file, report)
        if directory is not None:
            directory.note(one.file.name, one.container.text, platform, fetched)
        return fetched

    jobs = [Job(one.container.text, one) for one in wanted.values()]
    return list(_outcomes(jobs, run_all(jobs, options.concurrency or AT_ONCE, act, _said)))


def _outcomes(jobs: Sequence[Job[Wanted]], results: Sequence[Fetched | WaveletError]) -> Iterator[Outcome]:
    for job, result in zip(jobs, results, strict=True):
        if isinstance(result, WaveletError):
            yield failed(job.name, result)
        else:
            yield _there(job.name, job.subject.file, result)


def _said(result: Fetched | WaveletError) -> str:
    return sentence(result) if isinstance(result, WaveletError) else f"there, {size(result.size)}"


def _refused(text: str, error: WaveletError) -> Outcome:
    _note(text, sentence(error))
    return failed(text, error)


def _note(text: str, words: str) -> None:
    sys.stderr.write(visible(f"{text}: {words}") + "\n")


def _platform(options: argparse.Namespace) -> str:
    """Return the platform that is asked for; empty: the daemon's own.

    Raises:
        InvalidRequest: there are several, or it is none.
    """
    if len(options.platform) > 1:
        raise InvalidRequest("--platform: a file is for one platform")
    return str(Platform.parse(options.platform[0], "--platform")) if options.platform else ""
