"""The architectures whose programs this node runs: its own, and those that its kernel hands to an emulator.

The kernel's table is binfmt_misc (Documentation/admin-guide/binfmt-misc.rst): an entry has the beginning of the files
that it is for, which for programs has the machine (ELF, `e_machine`).
"""

from __future__ import annotations

import platform
from collections.abc import Iterable, Iterator
from pathlib import Path

from wavelet.image.reference import Platform

TABLE = Path("/proc/sys/fs/binfmt_misc")
"""Where the kernel shows its entries, a file each, if that is mounted."""

EMULATION = "docker run --privileged --rm tonistiigi/binfmt --install {architecture}"
"""The usual command that has an architecture emulated."""

_MACHINES = {"amd64": 62, "arm64": 183, "arm": 40}
_PLACE = slice(2 * 18, 2 * 20)
"""Where the machine is in a magic, which is in hexadecimal."""


def own_platform() -> Platform:
    """Return the platform whose programs run here in any case."""
    return Platform.of("linux", platform.machine())


def is_emulated(architecture: str) -> bool:
    """Tell whether this node's kernel runs programs of an architecture that is not its own. Blocks, shortly."""
    return is_in_table(architecture, _entries())


def is_in_table(architecture: str, entries: Iterable[str]) -> bool:
    """Tell whether one of the kernel's entries, as it shows them, has an emulator for an architecture.

    One without the flag `F` is of no use: its emulator is looked for in the image.
    """
    machine = _MACHINES.get(architecture)
    return machine is not None and any(_is_for(machine.to_bytes(2, "little").hex(), entry) for entry in entries)


def _is_for(machine: str, entry: str) -> bool:
    said = dict(line.partition(" ")[::2] for line in entry.splitlines())
    return "enabled" in said and "F" in said.get("flags:", "") and said.get("magic", "")[_PLACE] == machine


def _entries() -> Iterator[str]:
    try:
        names = [path for path in TABLE.iterdir() if path.name not in ("register", "status")]
    except OSError:  # it is not mounted here, or not to be read
        return
    for path in names:
        try:
            yield path.read_text("utf-8", "replace")
        except OSError:  # it has just gone
            continue
