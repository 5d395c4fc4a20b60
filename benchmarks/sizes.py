"""Counts what is large or unchecked in wavelet's code, where it stands (generated code left out).

python benchmarks/sizes.py          or any other Python that has a version of wavelet, for that version
"""

from __future__ import annotations

import ast
import importlib.util
import io
import sys
import tokenize
from collections import Counter
from pathlib import Path

LINES_OF_A_FILE, LINES_OF_A_FUNCTION = 400, 60
GENERATED = "v1"
MEASURES = (
    f"files of more than {LINES_OF_A_FILE} lines",
    f"functions of more than {LINES_OF_A_FUNCTION} lines",
    "Any",
    "cast",
    "type: ignore",
    "noqa",
    "files",
    "lines",
)


def counts(package: Path) -> Counter[str]:
    """Count in all modules of a package."""
    found: Counter[str] = Counter()
    for path in sorted(package.rglob("*.py")):
        if path.relative_to(package).parts[0] != GENERATED:
            text = path.read_text()
            found += _large(text) + _unchecked(text)
    return found


def _large(text: str) -> Counter[str]:
    """Count the file and its functions; a function begins with its decorators."""
    lines = text.count("\n")
    found = Counter({"files": 1, "lines": lines, MEASURES[0]: int(lines > LINES_OF_A_FILE)})
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
            found[MEASURES[1]] += (node.end_lineno or first) - first + 1 > LINES_OF_A_FUNCTION
    return found


def _unchecked(text: str) -> Counter[str]:
    """Count the lines with the names `Any` and `cast` (imports left out), and with what silences mypy and ruff."""
    names = (node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name))
    found = Counter(name for name, _ in {(node.id, node.lineno) for node in names if node.id in {"Any", "cast"}})
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            found["type: ignore"] += "type: ignore" in token.string
            found["noqa"] += "noqa" in token.string
    return found


def main() -> None:
    """Print a line for each measure."""
    found = importlib.util.find_spec("wavelet")
    if found is None or found.origin is None:
        sys.exit("this Python has no wavelet")
    total = counts(Path(found.origin).parent)
    print("\n".join(f"| {measure} | {total[measure]:,} |" for measure in MEASURES))


if __name__ == "__main__":
    main()
