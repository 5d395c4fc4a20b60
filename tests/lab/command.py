"""What the `wavelet` command says when a test calls it."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from wavelet.cli.main import main


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
"""Runs the command with the arguments given; `stdin` is what it reads."""


def in_process(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Wavelet:
    """Return what runs the command within this process."""

    def run(*arguments: str, stdin: str = "") -> Said:
        monkeypatch.setattr("sys.stdin", io.StringIO(stdin))
        try:
            code = main(list(arguments))
        except SystemExit as end:  # argparse's own
            code = int(end.code or 0)
        printed = capsys.readouterr()
        return Said(code, printed.out, printed.err)

    return run
