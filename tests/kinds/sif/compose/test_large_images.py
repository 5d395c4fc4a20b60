"""Images of many entries: bounded memory, and no more time for each than there has to be."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import compose_many
import pytest
from made_layers import Made, compose_layers

from lab.processes import run

MEMORY = 150 * 1000**2
PER_ENTRY = 0.0001
"""Seconds of the processor: five times what it takes on a machine with nothing else to do."""


@pytest.mark.process
def test_half_a_million_entries_take_150_mb(tmp_path: Path) -> None:
    command = [sys.executable, compose_many.__file__, str(tmp_path), "500000", "100000"]
    peak = int(run(command, seconds=100).stdout)
    assert peak < MEMORY


def test_an_entry_takes_microseconds(tmp_path: Path) -> None:
    layers = [[Made(b"d%03d/f%03d" % (each // 100, each % 100)) for each in range(10_000)]]
    begun = time.process_time()
    compose_layers(tmp_path / "made", layers)
    made = time.process_time() - begun
    assert made < 10_000 * PER_ENTRY


def test_a_hundred_and_twenty_layers(tmp_path: Path) -> None:
    layers = [[Made(b"etc/x%d" % each), Made(b"shared", content=b"%d" % each)] for each in range(120)]
    composed, _ = compose_layers(tmp_path / "made", layers)
    assert composed.size < 64 * 1024
