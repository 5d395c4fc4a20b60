"""The pack `trace` as it is made of packages: the same bytes each time, busybox once, and all that is owed with it."""

from __future__ import annotations

import importlib.util
import sys
import tarfile
from pathlib import Path
from types import ModuleType

import pytest

from wavelet.packs.building import build
from wavelet.packs.reading import read_pack

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def trace_pack() -> ModuleType:
    spec = importlib.util.spec_from_file_location("trace_pack", REPOSITORY / "packaging/trace_pack.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, spec.name, module)  # dataclasses look for it there
        spec.loader.exec_module(module)
    return module


@pytest.fixture
def made(trace_pack: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make the pack of packages with a line in place of each program, twice: the second one replaces the first."""
    (tmp_path / "common").mkdir()
    for name in trace_pack.LICENSES:
        (tmp_path / "common" / name).write_text(name)
    monkeypatch.setattr(trace_pack, "COMMON", tmp_path / "common")
    packages = {}
    for architecture in trace_pack.ARCHITECTURES:
        packages[architecture] = {}
        for name, program in ((trace_pack.BASH, "bash-static"), (trace_pack.BUSYBOX, "busybox")):
            root = tmp_path / architecture / name
            (root / "bin").mkdir(parents=True)
            (root / "bin" / program).write_text(f"{name} for {architecture}")
            (root / "usr/share/doc" / name).mkdir(parents=True)
            (root / "usr/share/doc" / name / "copyright").write_text(f"of {name}")
            package = trace_pack.Package(name, architecture, "1.0+b1", f"{name} (1.0)", "glibc (= 2.36)", root)
            packages[architecture][name] = package
    trace_pack.write(tmp_path / "trace", packages)
    first = (tmp_path / "trace/amd64.tar").read_bytes()
    trace_pack.write(tmp_path / "trace", packages)
    assert (tmp_path / "trace/amd64.tar").read_bytes() == first
    return tmp_path / "trace"


def test_what_is_owed_with_the_programs_is_beside_them(made: Path, trace_pack: ModuleType) -> None:
    assert {path.name for path in (made / "licenses").iterdir()} == {
        "bash-static",
        "busybox-static",
        *trace_pack.LICENSES,
    }
    notice = (made / "NOTICE").read_text()
    assert (
        "- bash-static 1.0+b1 for arm64, of the source package bash-static (1.0) (Built-Using: glibc (= 2.36))"
        in notice
    )
    assert "apt-get source" in notice


def test_it_is_a_pack_whose_layers_give_way(made: Path, trace_pack: ModuleType, tmp_path: Path) -> None:
    spec = read_pack((made / "pack.yaml").read_text(), "shipped_packs/trace/pack.yaml", "trace")
    assert spec.architectures == {"amd64", "arm64"}
    (tmp_path / "built").mkdir()
    layers = build(made, spec, {}, tmp_path / "built")
    paths = {"bin/bash", *(f"bin/{applet}" for applet in trace_pack.APPLETS)}
    assert [layer.paths for layer in layers] == [paths, paths]
    with tarfile.open(layers[0].file) as tar:
        members = tar.getmembers()
        assert {member.pax_headers.get("WAVELET.keep") for member in members} == {"existing"}
        assert [member.name for member in members if member.isreg()] == ["bin/bash", "bin/awk"]
        program = tar.extractfile("bin/ps")
        assert program is not None
        assert program.read() == b"busybox-static for amd64"
        assert {member.mode for member in members} == {0o755}
