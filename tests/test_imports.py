"""The import direction: rooms import downwards only, and the pure rooms import no library that does I/O."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "daemon" / "wavelet"

LEVELS = (
    {"cli", "app", "wiring", "node_schema", "upkeep", "reload"},
    {"front"},
    {"requests"},
    {"rules"},
    {"push", "packs"},
    {"resolve", "hosted"},
    {"kinds"},
    {"upstream", "store", "cluster", "host"},
    {"plan"},
    {"engine"},
    {"archive"},
    {"image"},
    {"config", "defects", "concurrency", "logs"},
    {
        "errors",
        "daemon_status",
        "lazy_module",
        "foreign_json",
        "bounded_yaml",
        "directory_trees",
        "paths",
        "plain_files",
        "quantities",
        "v1",
    },
)
"""The rooms from the top down. A room imports its own level and those below it."""

APART = {"client"}
"""Rooms that import none of the others but `SHARED`, and that only the command line may import."""

SHARED = {"paths", "v1"}
"""What the daemon and its client both have: where they meet, and the generated messages."""

PURE = {"foreign_json", "image", "plan", "quantities", "bounded_yaml"}
PURE_LIBRARIES = {
    "__future__",
    "abc",
    "base64",
    "binascii",
    "collections",
    "contextlib",
    "dataclasses",
    "difflib",
    "enum",
    "functools",
    "hashlib",
    "hmac",
    "ipaddress",
    "itertools",
    "json",
    "math",
    "msgspec",
    "operator",
    "posixpath",
    "re",
    "string",
    "types",
    "typing",
    "unicodedata",
    "urllib.parse",
    "yaml",
}
"""What rooms without I/O may import."""


PURE_PARTS = (
    "kinds.augment.node",
    "kinds.index.node",
    "kinds.registry_image.node",
    "kinds.other_architecture",
    "kinds.sif.manifest",
    "kinds.sif.published.format",
    "kinds.sif.published.node",
    "kinds.sif.published.sources",
    "kinds.conda.model",
    "kinds.conda.locks.read_conda_lock",
    "kinds.conda.locks.read_explicit",
    "kinds.conda.locks.read_pixi_lock",
    "kinds.conda.locks.unchecked",
    "kinds.conda.locks.foreign",
    "kinds.conda.locks.locked",
    "packs.combined",
    "packs.locations",
    "packs.members",
    "packs.model",
    "packs.reading",
    "packs.spec",
    "rules.checks",
    "rules.covering",
    "rules.members",
    "rules.model",
    "rules.patterns",
    "rules.read_do",
    "rules.read_when",
    "rules.reading",
)
"""Parts of rooms that do no I/O either."""


def room_of(module: str) -> str:
    """Return the room of a module `wavelet.<room>…`; the package itself is `wavelet`."""
    return [*module.split("."), "wavelet"][1] if "." in module else "wavelet"


def modules() -> Iterator[tuple[str, Path]]:
    """Yield name and file of every module of the package."""
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = ["wavelet", *path.relative_to(PACKAGE).with_suffix("").parts]
        yield ".".join(part for part in parts if part != "__init__"), path


def imports_of(path: Path) -> Iterator[str]:
    """Yield the full name of every module that a file imports, inside functions too."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            if node.module == "wavelet":
                yield from (f"wavelet.{name.name}" for name in node.names if not name.name.startswith("__"))
            else:
                yield node.module or ""


def is_pure(module: str) -> bool:
    """Tell whether a module of the package does no I/O."""
    return room_of(module) in PURE or f"{module.removeprefix('wavelet.')}.".startswith(
        tuple(f"{part}." for part in PURE_PARTS)
    )


def level_of(room: str) -> int:
    """Return the level of a room, 0 at the top."""
    return next(number for number, rooms in enumerate(LEVELS) if room in rooms)


MODULES = list(modules())


def test_every_room_has_its_level() -> None:
    rooms = {room_of(name) for name, _ in MODULES} - {"wavelet", "__main__"}
    assert rooms - set().union(*LEVELS) - APART == set()


@pytest.mark.parametrize(("name", "path"), MODULES, ids=[name for name, _ in MODULES])
def test_imports_run_downwards(name: str, path: Path) -> None:
    room = room_of(name)
    if room in ("wavelet", "__main__"):
        return
    for imported in imports_of(path):
        if imported.partition(".")[0] != "wavelet" or imported == "wavelet":
            continue
        other = room_of(imported)
        if other == room:
            continue
        if room in APART or other in APART:
            assert room == "cli" or other in SHARED, f"{name} imports {imported}"
            continue
        assert level_of(other) >= level_of(room), f"{name} imports {imported}, which lies above it"


@pytest.mark.parametrize(
    ("name", "path"), [m for m in MODULES if is_pure(m[0])], ids=lambda value: str(value).rpartition("/")[2]
)
def test_pure_rooms_do_no_io(name: str, path: Path) -> None:
    for imported in imports_of(path):
        top = imported.partition(".")[0]
        assert top == "wavelet" or imported in PURE_LIBRARIES or top in PURE_LIBRARIES, f"{name} imports {imported}"
        assert top != "wavelet" or (is_pure(imported) or room_of(imported) == "errors"), f"{name} imports {imported}"
