"""What the `wavelet` command says when a test calls it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Said:
    """What a command has printed, and its exit code."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """Return its output, which is JSON."""
        assert self.code == 0, self.err
        return json.loads(self.out)


Wavelet = Callable[..., Said]
"""Runs the command with the arguments given."""
