"""What others read of wavelet, as it was written down: names and values that stay when code is renamed.

A golden file says what programs, scripts, dashboards and databases of other versions know. What is added goes into it;
what is changed or taken away in it breaks somebody, and needs a word in the notes of the release.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
from pathlib import Path
from typing import Any

import wavelet

_GOLDEN = Path(__file__).parent


def golden(name: str) -> Any:
    """Return what a golden file says."""
    return json.loads((_GOLDEN / f"{name}.json").read_text("utf-8"))


def import_everything() -> None:
    """Import all modules of the daemon and its command, so that what they register and derive is there."""
    for module in pkgutil.walk_packages(wavelet.__path__, "wavelet."):
        importlib.import_module(module.name)
