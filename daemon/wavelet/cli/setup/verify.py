"""Whether an engine that was set up asks the daemon: the engine pulls an image that nobody but wavelet has, by digest.

Without a daemon that answers, or without the engine's program, nothing can be told, and the sentence says how to.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass

from yarl import URL

from wavelet.cli.doctor.facts import direct
from wavelet.errors import EngineFailed
from wavelet.front.registry.setup_image import PATH, setup_image

ANSWER_LIMIT = 4.0
"""Seconds for the daemon's answer."""

PULL_LIMIT = 60.0
"""Seconds for the engine; Apptainer makes a SIF of what it pulls."""

DIRECTORY = "{directory}"
"""In a command: a temporary directory."""


@dataclass(frozen=True, slots=True)
class Pull:
    """How an engine gets the image.

    Attributes:
        command: pulls it.
        forget: removes it, where the engine keeps it.
        probe: succeeds while the engine runs, where it is one that runs.
    """

    command: tuple[str, ...]
    forget: tuple[str, ...] = ()
    probe: tuple[str, ...] = ()


def test_image(registry: str) -> str:
    """Return the name of the image in a registry, or behind the daemon's own authority."""
    return f"{registry}/{PATH}@{setup_image().index.descriptor.digest}"


def verify(authority: str, pulls: Sequence[Pull]) -> str:
    """Let the first engine that is in PATH pull the image; return what there is to say, if anything. Blocking.

    Raises:
        EngineFailed: it does not get it, though the daemon has it.
    """
    if not pulls:
        return ""
    pull = next((each for each in pulls if shutil.which(each.command[0]) is not None), None)
    wanted = shlex.join((pull or pulls[0]).command).replace(DIRECTORY, "/tmp")  # noqa: S108 - for people to run
    if pull is None:
        programs = ", ".join(dict.fromkeys(each.command[0] for each in pulls))
        return f"nothing was verified: {programs} is not in PATH; where it is, try: {wanted}"
    if pull.probe and (why := _run(pull.probe)):
        return f"nothing was verified: {pull.command[0]} does not reach its engine ({why}); when it does, try: {wanted}"
    if not _answers(authority):
        return f"nothing was verified: no daemon answers at {authority}; when it does, try: {wanted}"
    with tempfile.TemporaryDirectory(prefix="wavelet-setup-") as directory:
        failure = _run(tuple(part.replace(DIRECTORY, directory) for part in pull.command))
    if failure:
        raise EngineFailed(f"the files are written, but `{wanted}` does not get its image from wavelet: {failure}")
    if pull.forget:
        _run(pull.forget)
    return f"verified: {pull.command[0]} gets its images from wavelet at {authority}"


def _answers(authority: str) -> bool:
    """Tell whether a daemon with the image is there."""
    url = URL(f"http://{authority}/v2/") / PATH / "manifests" / str(setup_image().index.descriptor.digest)
    try:
        with direct().open(str(url), timeout=ANSWER_LIMIT) as answer:
            return bool(answer.headers.get("Docker-Content-Digest"))
    except (OSError, ValueError):
        return False


def _run(command: Sequence[str]) -> str:
    """Run a program; return the last that it says of its failure, or nothing where it does its part."""
    try:
        done = subprocess.run(  # noqa: S603 - programs of the engines' modules
            command, check=False, capture_output=True, stdin=subprocess.DEVNULL, timeout=PULL_LIMIT
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    said = (done.stderr or done.stdout).decode(errors="replace").strip().splitlines()
    return "" if done.returncode == 0 else (said[-1] if said else f"it ends with {done.returncode}")
