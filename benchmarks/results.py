"""RESULTS.md: a section for each part of the measures, which is replaced when all of that part were run (pure)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import ModuleType

from report import Row, machine, table

HEAD = """\
# Measured

Written by `make bench`. A ratio is the median of the rounds' ratios, with its least and greatest; rounds of wavelet and
its peers alternate. Everything runs on one machine over loopback: clients and peers share its cores.
"""

TITLES = {
    "serving": "Serving images",
    "names": "Names that are bound",
    "command": "The command",
    "access": "Who asks",
    "conda": "Images of conda packages",
    "layers": "Images of many layers and of few",
    "solving": "Solving for conda packages",
    "rules": "Rules and packs",
    "frozen": "Frozen images",
    "copies": "Images copied to registries",
    "sif": "SIF files",
    "house": "The house by kind",  # by hand, of what walks.py and sizes.py print
}


def with_part(text: str, part: str, rows: Sequence[Row], measures: Mapping[str, ModuleType]) -> str:
    """Return the document with the section of `part` written anew."""
    sections = dict(re.findall(r"(?ms)^## ([^\n]*)\n(.*?)(?=^## |\Z)", text))
    sections[TITLES[part]] = f"\n{_facts()}\n\n{table(rows)}\n\n{_how(measures)}\n\n"
    written = (f"## {title}\n{sections[title]}" for title in TITLES.values() if title in sections)
    return f"{HEAD}\n{''.join(written).rstrip()}\n"


def _facts() -> str:
    return "\n".join(f"- {line}" for line in machine())


def _how(measures: Mapping[str, ModuleType]) -> str:
    return "\n".join(f"- **{name}**: {' '.join((module.__doc__ or '').split())}" for name, module in measures.items())
