"""Kinds stay apart: whoever is not of a kind's room asks no node whether it is of that kind.

The rooms that turn a request on the wire into a node name its kind, and do not ask for it either.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from wavelet.kinds.table import KINDS as TABLE

PACKAGE = Path(__file__).parents[2] / "daemon" / "wavelet"


def room_of(module: str) -> str:
    """Return the room of a module below `kinds/`: `wavelet.kinds.conda.model.node` is of `conda`; else nothing."""
    parts = module.split(".")
    return parts[2] if parts[1] == "kinds" and len(parts) > 3 else ""


KINDS = {row.node.__name__: room_of(row.node.__module__) for row in TABLE}


def compared(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Yield the names that values are compared with, as types or otherwise, and their lines."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id="isinstance" | "issubclass"), args=[_, of]) | ast.MatchClass(cls=of):
                operands = [of]
            case ast.Compare(left=left, comparators=others):
                operands = [left, *others]
            case _:
                continue
        for each in (inner for operand in operands for inner in ast.walk(operand)):
            if isinstance(each, ast.Name | ast.Attribute):
                yield (each.id if isinstance(each, ast.Name) else each.attr), each.lineno


def modules() -> dict[str, Path]:
    """Return the files of all modules, by their names."""
    files = sorted(PACKAGE.rglob("*.py"))
    return {".".join(("wavelet", *path.relative_to(PACKAGE).with_suffix("").parts)): path for path in files}


MODULES = modules()


@pytest.mark.parametrize("module", MODULES)
def test_nobody_else_asks_whether_a_node_is_of_a_kind(module: str) -> None:
    tree = ast.parse(MODULES[module].read_text("utf-8"))
    assert [each for each in compared(tree) if each[0] in KINDS and KINDS[each[0]] != room_of(module)] == []
