"""The reference of all commands, as Markdown, from their parsers. `python -m lab.command_reference` writes it again."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from wavelet.cli.daemon_call import add_options
from wavelet.cli.parser import whole_parser

PAGE = Path(__file__).parents[2] / "docs" / "cli.md"
BEGIN = "<!-- from here on the page is made from the commands themselves -->\n"
END = "<!-- to here -->\n"
_HEAD = "\n| argument | meaning |\n|---|---|\n"
COMMON = ("socket", "timeout", "output")
"""Options that stand on the page once, where a command has all of them."""


def updated(page: str) -> str:
    """Return the page with the reference between its two markers."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + "\n" + "\n".join(reference()) + END + after


def reference() -> Iterator[str]:
    """Yield the reference, a part for each command that does something by itself."""
    common_parser = argparse.ArgumentParser(add_help=False)
    add_options(common_parser)
    described = [_row(common_parser, action) for action in common_parser._actions]
    yield f"All commands that call the daemon have these:\n{_HEAD}{''.join(described)}"
    for name, parser in _commands(whole_parser(), "wavelet"):
        actions = [action for action in parser._actions if action.dest != "help"]
        common = [action for action in actions if action.dest in COMMON]
        shared = len(common) == len(COMMON)
        rows = [_row(parser, action) for action in actions if not (shared and action in common)]
        calls = " It calls the daemon." if shared else ""
        head = _HEAD if rows else ""
        yield f"### {name}\n\n{_sentence(parser.description or '')}{calls}\n{head}{''.join(rows)}"


def _commands(parser: argparse.ArgumentParser, name: str) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    below = next((action for action in parser._actions if isinstance(action, argparse._SubParsersAction)), None)
    if below is None:
        yield name, parser
        return
    summaries = {choice.dest: choice.help or "" for choice in below._choices_actions}
    for word, child in below.choices.items():
        child.description = child.description or summaries[word]
        yield from _commands(child, f"{name} {word}")


def _row(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    formatter = parser._get_formatter()
    value = formatter._format_args(action, formatter._get_default_metavar_for_optional(action))
    if action.option_strings:
        shown = ", ".join(action.option_strings) + (f" {value}" if value else "")
    else:
        shown = formatter._format_args(action, formatter._get_default_metavar_for_positional(action))
    meaning = formatter._expand_help(action) if action.help else ""
    return f"| `{_cell(shown)}` | {_cell(meaning)} |\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + "."


if __name__ == "__main__":
    PAGE.write_text(updated(PAGE.read_text()))
