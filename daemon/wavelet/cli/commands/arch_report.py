"""`wavelet arch-report`: which processes of a pipeline cannot run on a platform, before it starts.

What is printed ends with the lines of a configuration that have these run on the other one.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence

from wavelet.cli import daemon_call
from wavelet.cli.arch_report.processes import read_processes
from wavelet.cli.arch_report.questions import Questions, State, Verdict
from wavelet.cli.output import emit, table
from wavelet.cli.progress import progress
from wavelet.client import Client
from wavelet.errors import InvalidRequest
from wavelet.image.reference import DEFAULT_PLATFORM, Platform
from wavelet.kinds.other_architecture import process_block

_ARM64 = Platform("linux", "arm64")
_PROCESSES = "processes"

_WORDS: dict[State, str] = {
    "there": "there",
    "missing": "missing",
    "failing": "cannot be had",
    "unknown": "not known",
    "none": "no container",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "sources", metavar="FILE", nargs="+",
        help="what `nextflow inspect -format json` prints (- is stdin); environment files of modules, or directories "
        "with such, which count before a container",
    )  # fmt: skip
    parser.add_argument("--platform", metavar="NAME", default=str(_ARM64), help=f"where tasks shall run ({_ARM64})")
    daemon_call.add_options(parser)


def run(options: argparse.Namespace) -> int:
    """Print the report; 1 if a process cannot run there, or nobody can tell.

    Raises:
        InvalidRequest: a source cannot be read, or there is no process in them.
        InvalidName: the platform is none.
    """
    platform = Platform.parse(options.platform, "--platform")
    other = _ARM64 if platform == DEFAULT_PLATFORM else DEFAULT_PLATFORM
    processes = read_processes(options.sources)
    if not processes:
        raise InvalidRequest("FILE: there is no process in it")

    def act(client: Client) -> int:
        found: list[Verdict] = []
        with progress() as shown:
            for verdict in Questions(client, str(platform), str(other)).verdicts(processes):
                found.append(verdict)
                shown.update(_PROCESSES, len(found), len(processes), in_bytes=False)
            shown.end(_PROCESSES)
        found.sort(key=lambda verdict: processes.index(verdict.process))
        block = _block(found, other)
        emit(_value(found, platform, block), options.output, _lines(found, platform, block))
        return daemon_call.DONE if all(each.state in ("there", "none") for each in found) else daemon_call.FAILED

    return daemon_call.call(options, act)


def _block(found: Sequence[Verdict], other: Platform) -> list[str]:
    names = [each.process.name for each in found if each.state == "missing"]
    return process_block(dict.fromkeys(names), other) if names else []


def _value(found: Sequence[Verdict], platform: Platform, block: Sequence[str]) -> dict[str, object]:
    rows = [
        {"name": each.process.name, "asked": each.asked, "state": each.state, "reason": each.reason} for each in found
    ]
    return {"platform": str(platform), "processes": rows, "config": "\n".join(block)}


def _lines(found: Sequence[Verdict], platform: Platform, block: Sequence[str]) -> Iterator[str]:
    yield from table(
        ("process", str(platform), "made of"), [(each.process.name, _WORDS[each.state], each.asked) for each in found]
    )
    reasons = [f"{each.process.name}: {each.reason}" for each in found if each.reason]
    for part in (reasons, block):
        if part:
            yield ""
            yield from part
