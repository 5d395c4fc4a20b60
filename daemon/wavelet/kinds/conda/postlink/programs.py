"""The programs of `in_image/`, which run post-link scripts as conda does, and the files that they are given."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib import resources
from pathlib import Path
from typing import NamedTuple

from wavelet.engine.limits import Limits
from wavelet.engine.protocol import GivenFile, SandboxTask
from wavelet.kinds.conda.model.packages import PREFIX

ENVIRONMENT = {"PREFIX": PREFIX, "BASH_ENV": ""}
"""What the first process is given beside the image's environment. Shells in a sandbox run no activation unasked."""


class Row(NamedTuple):
    """A package whose script is run."""

    name: str
    version: str
    build_number: int


class Download(NamedTuple):
    """A file that a script fetches: its addresses, its MD5 in hex, and where this node has it."""

    urls: Sequence[str]
    md5: str
    file: Path


def sandbox_task(limits: Limits) -> SandboxTask:
    """Return what an engine is to run: `run.sh`, which waits for files and a line."""
    return SandboxTask("post-link", _program("run.sh").decode(), ENVIRONMENT, PREFIX, limits)


def start_line(newest: int, limits: Limits) -> str:
    """Return the line that `run.sh` waits for: the time of the newest file, and bounds for each process."""
    hard = limits.hard
    return f"{newest} {hard.disk // 1024} {hard.memory // 1024}"


def given_files(rows: Iterable[Row], downloads: Iterable[Download]) -> list[GivenFile]:
    """Return the files of a sandbox: which scripts to run, what they may fetch, and the programs."""
    downloads = list(downloads)
    packages = "".join(f"{row.name}\t{row.version}\t{row.build_number}\n" for row in rows)
    urls = "".join(f"{url}\t{download.md5}\n" for download in downloads for url in download.urls)
    fetch = _program("fetch.sh")
    return [
        *(GivenFile(f"files/{download.md5}", download.file) for download in downloads),
        GivenFile("packages", packages.encode()),
        GivenFile("urls", urls.encode()),
        GivenFile("one.sh", _program("one.sh")),
        GivenFile("bin/which", _program("which.sh"), executable=True),
        *(GivenFile(f"bin/{name}", fetch, executable=True) for name in ("curl", "wget")),
    ]


def _program(name: str) -> bytes:
    return resources.files("wavelet.kinds.conda.postlink").joinpath("in_image", name).read_bytes()
