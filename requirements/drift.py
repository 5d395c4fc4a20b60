"""Says how this environment differs from a lock: `drift.py requirements/dev.txt`. Differences are no failure."""

from __future__ import annotations

import re
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_LOCKED = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^ \\;]+)", re.MULTILINE)


def drift(lock: Path) -> list[str]:
    """Return a line for each package that is here in another version than the lock's."""
    lines = []
    for name, locked in _LOCKED.findall(lock.read_text()):
        try:
            here = version(name)
        except PackageNotFoundError:  # of another platform or Python
            continue
        if here != locked:
            lines.append(f"{name}: {locked} is locked, {here} is newest")
    return lines


if __name__ == "__main__":
    found = drift(Path(sys.argv[1]))
    print("\n".join(["== DRIFT: not locked yet, so tested here first", *found] if found else ["== no drift"]))
