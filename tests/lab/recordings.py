"""Requests that were recorded from unchanged versions of Nextflow, where the project's shared data is at hand."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest


def recorded(cases: str = "*") -> list[Any]:
    """Return those with such names as parameters of a test; one that is skipped where there are none."""
    shared = Path(os.environ.get("WAVELET_SHARED", Path(__file__).parents[3] / "shared")) / "data" / "nextflow"
    found = sorted(shared.glob(f"*/{cases}.json"))
    if not found:
        absent = pytest.mark.skip(reason=f"no recorded requests at {shared} (or in WAVELET_SHARED)")
        return [pytest.param(None, id="absent", marks=absent)]
    return [pytest.param(json.loads(path.read_text()), id=f"{path.parent.name}-{path.stem}") for path in found]
