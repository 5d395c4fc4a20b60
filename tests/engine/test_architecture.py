"""Which architectures a node runs: the kernel's table of emulators, and what engines say of where they run."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from wavelet.engine import architecture, namespace
from wavelet.engine.architecture import is_emulated, is_in_table, own_platform
from wavelet.engine.command_line import DOCKER, CommandEngine
from wavelet.engine.namespace import NamespaceEngine

QEMU = """enabled
interpreter /usr/bin/qemu-aarch64-static
flags: F
offset 0
magic 7f454c460201010000000000000000000200b700
mask ffffffffffffff00fffffffffffffffffeffffff
"""
PYTHON = "enabled\ninterpreter /usr/bin/python3\nflags: \nextension .pyc\n"
FOREIGN = "arm64" if own_platform().architecture == "amd64" else "amd64"
MACHINE = {"arm64": "b700", "amd64": "3e00"}[FOREIGN]


@pytest.mark.parametrize(
    ("asked", "entries", "found"),
    [
        ("arm64", [PYTHON, QEMU], True),
        ("arm64", [QEMU.replace("flags: F", "flags: POCF")], True),
        ("amd64", [QEMU.replace("b700", "3e00")], True),
        ("amd64", [PYTHON, QEMU], False),
        ("arm64", [QEMU.replace("flags: F", "flags: ")], False),
        ("arm64", [QEMU.replace("enabled", "disabled")], False),
        ("riscv64", [QEMU], False),
        ("arm64", ["", "\x00"], False),
        ("arm64", [], False),
    ],
)
def test_the_kernels_table(asked: str, entries: list[str], found: bool) -> None:
    assert is_in_table(asked, entries) is found


def test_the_table_is_read_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(architecture, "TABLE", tmp_path / "binfmt_misc")
    assert not is_emulated("arm64")
    (tmp_path / "binfmt_misc").mkdir()
    (tmp_path / "binfmt_misc" / "status").write_text("enabled\n")
    (tmp_path / "binfmt_misc" / "register").mkdir()
    (tmp_path / "binfmt_misc" / "odd").mkdir()
    assert not is_emulated("arm64")
    (tmp_path / "binfmt_misc" / "qemu-aarch64").write_text(QEMU)
    assert is_emulated("arm64")


def engine(directory: Path, says: str) -> CommandEngine:
    """Return an engine whose command says of where its containers run what is given."""
    program = directory / "docker"
    program.write_text(f"#!/bin/sh\necho {says}\n")
    program.chmod(0o755)
    return replace(DOCKER, program=str(program))


@pytest.mark.process
async def test_an_engine_of_this_node_runs_what_the_node_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(architecture, "TABLE", tmp_path)
    here = engine(tmp_path, f"{own_platform().architecture} {os.uname().release}")
    assert await here.absence(own_platform().architecture) == ""
    assert f"emulates none of {FOREIGN}" in await here.absence(FOREIGN)
    (tmp_path / "any").write_text(QEMU.replace("b700", MACHINE))
    assert await here.absence(FOREIGN) == ""


@pytest.mark.process
async def test_an_engine_of_another_machine_is_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(architecture, "TABLE", tmp_path)
    assert await engine(tmp_path, f"{FOREIGN} {os.uname().release}").absence(FOREIGN) == ""
    assert await engine(tmp_path, "amd64 another-kernel").absence(FOREIGN) == ""


async def test_namespaces_run_what_the_node_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(architecture, "TABLE", tmp_path)
    monkeypatch.setattr(namespace, "_probe", lambda: "")
    assert f"emulates none of {FOREIGN}" in await NamespaceEngine().absence(FOREIGN)
    (tmp_path / "any").write_text(QEMU.replace("b700", MACHINE))
    assert await NamespaceEngine().absence(FOREIGN) == ""
