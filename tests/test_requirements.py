"""The lock: what `make run` and `make test` install is what pyproject.toml admits, all of it, by its hashes."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PINNED = re.compile(
    r"^(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^ ;\\]+)(?: ;[^\\]*)?(?P<hashes>(?: *\\\n +--hash=\S+)*)", re.M
)


def locked(name: str) -> dict[str, tuple[str, str]]:
    """Return version and hashes of each package of a lock."""
    text = (ROOT / "requirements" / name).read_text()
    return {canonicalize_name(found["name"]): (found["version"], found["hashes"]) for found in PINNED.finditer(text)}


def asked(*extras: str) -> list[Requirement]:
    """Return what pyproject.toml asks for: to run, to build, and by these extras."""
    project = PROJECT["project"]
    texts = [*project["dependencies"], *PROJECT["build-system"]["requires"]]
    texts += [text for extra in extras for text in project["optional-dependencies"][extra]]
    return [Requirement(text) for text in texts]


@pytest.mark.parametrize(("name", "extras"), [("run.txt", ()), ("dev.txt", ("dev",))])
def test_what_is_asked_for_is_locked(name: str, extras: tuple[str, ...]) -> None:
    pins = locked(name)
    for requirement in asked(*extras):
        version, _ = pins[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), f"{requirement} and {version}: make lock"


def test_all_is_locked_by_hashes_and_names_no_index() -> None:
    for name in ("run.txt", "dev.txt"):
        assert all(hashes for _, hashes in locked(name).values())
        assert "://" not in (ROOT / "requirements" / name).read_text()


def test_what_runs_is_what_was_tested() -> None:
    tested = locked("dev.txt")
    assert {name: tested.get(name) for name in locked("run.txt")} == locked("run.txt")
