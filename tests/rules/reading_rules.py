"""Rules as tests read them: on a node with a user, a group and a registry of its own."""

from __future__ import annotations

from textwrap import dedent

from wavelet.rules.model import Rule
from wavelet.rules.read_when import NodeNames
from wavelet.rules.reading import read_rules

NAMES = NodeNames({"alice": 1001}.get, {"lab": 2001}.get, frozenset({"127.0.0.1:9090"}))
FILE = "rules.d/10-site.yaml"


def read(text: str, file: str = FILE) -> tuple[Rule, ...]:
    """Return the rules of a file."""
    return read_rules(dedent(text), file, NAMES)
