"""Images of many entries: bounded memory, and no more time for each than there has to be."""

from __future__ import annotations

import sys
from pathlib import Path

import compose_many
import pytest
from made_layers import Made, compose_layers

from lab.processes import run

MEMORY = 75 * 1000**2
"""Bytes: `make bench` has half a million entries, and their bound."""


@pytest.mark.process
def test_many_entries_take_bounded_memory_to_compose(tmp_path: Path) -> None:
    command = [sys.executable, compose_many.__file__, str(tmp_path), "150000", "100000"]
    peak = int(run(command, seconds=100).stdout)
    assert peak < MEMORY


def test_a_hundred_and_twenty_layers(tmp_path: Path) -> None:
    layers = [[Made(b"etc/x%d" % each), Made(b"shared", content=b"%d" % each)] for each in range(120)]
    composed, _ = compose_layers(tmp_path / "made", layers)
    assert composed.size < 64 * 1024
