"""The shape of the code: how large files and functions are, and that tests have the rooms that it has."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
PACKAGE = TESTS.parent / "daemon" / "wavelet"
GENERATED = PACKAGE / "v1"

LINES_OF_A_FILE, LINES_OF_A_FUNCTION = 400, 60

WHOLE = {"documented", "doubles", "end_to_end", "faults", "lab", "nextflow_config", "packaging", "releases"}
"""Directories of tests that are of no room: what they are made with, and what takes wavelet as a whole."""

FILES = [path for path in sorted(PACKAGE.rglob("*.py")) if not path.is_relative_to(GENERATED)]


def test_directories_of_tests_are_rooms() -> None:
    rooms = {path.parent.relative_to(PACKAGE) for path in FILES}
    tested = {path.parent.relative_to(TESTS) for path in TESTS.rglob("test_*.py")}
    assert {str(each) for each in tested - rooms if each.parts[0] not in WHOLE} == set()


def test_modules_of_tests_have_names_of_their_own() -> None:
    """Two of one name, in directories that are no packages, cannot be run together."""
    modules = [path.name for path in TESTS.rglob("*.py") if not (path.parent / "__init__.py").exists()]
    assert {name for name in modules if modules.count(name) > 1} == {"conftest.py"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_files_and_functions_are_small(path: Path) -> None:
    text = path.read_text("utf-8")
    assert text.count("\n") <= LINES_OF_A_FILE
    functions = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    assert [node.name for node in functions if _lines(node) > LINES_OF_A_FUNCTION] == []


def _lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Count a function's lines, from its first decorator on."""
    first = min([function.lineno, *(each.lineno for each in function.decorator_list)])
    return (function.end_lineno or first) - first + 1
