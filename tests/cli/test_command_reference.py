"""The page of the command line says what the commands themselves say."""

from __future__ import annotations

import argparse

import pytest

from lab.command_reference import PAGE, updated
from wavelet.cli.quantities import byte_count, duration


def test_the_page_is_current() -> None:
    page = PAGE.read_text()
    assert page == updated(page), "run: cd tests && python -m lab.command_reference"


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("90s", 90), ("1.5m", 90), ("1h30m", 5400), ("2d", 172800)])
def test_times(text: str, seconds: float) -> None:
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["", "0", "-1", "1w", "m", "1 h"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        duration(text)


def test_sizes() -> None:
    assert byte_count("50GB") == 50_000_000_000
    with pytest.raises(argparse.ArgumentTypeError, match="is not a size"):
        byte_count("much")
