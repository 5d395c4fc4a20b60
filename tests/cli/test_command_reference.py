"""The page of the command line says what the commands themselves say."""

from __future__ import annotations

from lab.command_reference import PAGE, updated


def test_the_page_is_current() -> None:
    page = PAGE.read_text()
    assert page == updated(page), "run: cd tests && python -m lab.command_reference"
