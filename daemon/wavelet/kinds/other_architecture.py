"""The words that help where something is there for another architecture only: lines of Nextflow's configuration.

A request does not say which process it is for, so that these say `NAME`.
"""

from __future__ import annotations

from collections.abc import Iterable

from wavelet.image.reference import Platform

NAME = "NAME"
"""What stands for the process."""


_BEGIN = "to run the process as"


def arch_of(platform: Platform) -> str:
    """Return a platform as the directive `arch` has it, e.g. `amd64`."""
    return str(platform).removeprefix("linux/")


def selector(process: str, platform: Platform) -> str:
    """Return what gives a process, by its name, a platform, within the scope `process`."""
    return f"withName: '{process}' {{ arch = '{arch_of(platform)}' }}"


def process_block(processes: Iterable[str], platform: Platform) -> list[str]:
    """Return the lines of a configuration that give processes, by their names, a platform."""
    return ["process {", *(f"    {selector(name, platform)}" for name in processes), "}"]


def remedy(there: Platform) -> str:
    """Return what to write to have a process on the platform that something is there for, and what that takes."""
    return (
        f"{_BEGIN} {there}, write into nextflow.config: process {{ {selector(NAME, there)} }} with its "
        f"name, or withLabel and its label; its tasks then need a node that is {there.architecture} or emulates it "
        "(binfmt_misc with qemu)"
    )


def without_remedy(message: str) -> str:
    """Return a message up to where `remedy` begins in it."""
    return message.partition(f"; {_BEGIN}")[0]
