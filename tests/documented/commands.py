"""The commands that README.md and docs/ show, as their readers would copy them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

_FENCE = re.compile(r"^```(\w*)$")
_SHELLS = ("", "sh", "bash", "console")
_PROGRAMS = re.compile(
    r"^(?:sudo )?(?:eval \"\$\()?"
    r"(?:[A-Z_]+=\S+ )*"
    r"(?:wavelet|docker|podman|skopeo|crane|apptainer|singularity|nextflow|curl|make|pip|pipx|python3?|systemctl|"
    r"systemd-analyze|systemd-sysusers|systemd-tmpfiles|install|kubectl|sbatch|srun|git|tar|mkdir|cp|ln|export|buf|"
    r"grpcurl|ctr|cwltool|pass|useradd|usermod|loginctl)\b"
)


@dataclass(frozen=True)
class Command:
    """A command of a page; continued lines are one."""

    page: str
    line: int
    text: str


def documented() -> list[Command]:
    """Return all commands of all pages, in order."""
    return [command for page in PAGES for command in commands(page)]


def commands(page: Path) -> Iterator[Command]:
    """Yield the commands of a page: of fenced blocks of the shell, and of indented ones."""
    name = page.relative_to(ROOT).as_posix()
    begun: tuple[int, str] | None = None
    for number, line in _code_lines(page.read_text("utf-8")):
        if begun is not None:
            start, text = begun
            text = text.removesuffix("\\").rstrip() + " " + line.strip()
        elif _PROGRAMS.match(line):
            start, text = number, line
        else:
            continue
        begun = (start, text) if text.endswith("\\") else None
        if begun is None:
            yield Command(name, start, _without_comment(text))


def _code_lines(text: str) -> Iterator[tuple[int, str]]:
    fence: str | None = None
    before = ""
    for number, line in enumerate(text.splitlines(), 1):
        found = _FENCE.match(line.strip())
        if found is not None:
            fence = found[1] if fence is None else None
        elif fence is not None:
            if fence in _SHELLS:
                yield number, line.strip().removeprefix("$ ")
        elif line.startswith("    ") and not before.lstrip().startswith(("-", "*", "1.")):
            yield number, line.strip().removeprefix("$ ")
        before = line if line.strip() and not line.startswith("    ") else before


def blocks(page: Path) -> Iterator[tuple[int, str]]:
    """Yield the blocks of code of a page that are not in a list, each with the number of its first line."""
    gathered: list[tuple[int, str]] = []
    lines = page.read_text("utf-8").splitlines()
    for number, line in enumerate([*lines, ""], 1):
        if line.startswith("    ") or (not line and gathered and number < len(lines)):
            gathered.append((number, line.removeprefix("    ")))
        elif gathered:
            yield gathered[0][0], "\n".join(text for _, text in gathered)
            gathered = []


def _without_comment(text: str) -> str:
    return re.sub(r"\s{2,}#.*$", "", text).strip()
