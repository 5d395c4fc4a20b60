"""What became of the images of a list, as it is printed, and what all commands' exit code is for it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TypedDict

from wavelet.cli import daemon_call
from wavelet.cli.image_transfers import Failure
from wavelet.cli.output import emit, visible
from wavelet.cli.pull.disk import FileError
from wavelet.errors import WaveletError


class Outcome(TypedDict):
    """What became of an image: `file` is where it is, `digest` and `size` (bytes) what that has, where it is known."""

    image: str
    file: str
    digest: str
    size: int | None
    error: Failure | None


def outcome(image: str, file: str, *, digest: str = "", size: int | None = None) -> Outcome:
    """Return the outcome of an image that is there."""
    return {"image": image, "file": file, "digest": digest, "size": size, "error": None}


def failed(image: str, error: WaveletError) -> Outcome:
    """Return the outcome of an image that is not."""
    fault = error.fault.value
    return {
        "image": image,
        "file": "",
        "digest": "",
        "size": None,
        "error": {"message": error.message, "fault": fault},
    }


def sentence(error: WaveletError) -> str:
    """Return an error for people: who has to act, and what happened."""
    if isinstance(error, FileError):
        return error.message
    return f"{daemon_call.WHO[error.fault.value]}: {error.message}"


def show(outcomes: Sequence[Outcome], form: str) -> int:
    """Print what became of all, name those that failed, and return the exit code."""
    text = [f"{each['image']}  {each['file']}  {each['digest']}".rstrip() for each in outcomes if not each["error"]]
    emit(outcomes, form, text)
    names = [each["image"] for each in outcomes if each["error"]]
    if not names:
        return daemon_call.DONE
    sys.stderr.write(visible(f"wavelet: {len(names)} of {len(outcomes)} failed: {', '.join(names)}") + "\n")
    return daemon_call.FAILED
