"""`wavelet setup podman`: mirrors in a drop-in, beside which what others have written counts as before."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from wavelet.cli.main import main

DROP_INS = ".config/containers/registries.conf.d"
MIRRORS = f"{DROP_INS}/wavelet-mirrors.conf"
AT = ("--authority", "127.0.0.1:21005")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a home directory for the command."""
    for name in ("XDG_CONFIG_HOME", "CONTAINERS_REGISTRIES_CONF", "WAVELET_SOCKET", "WAVELET_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return tmp_path


def mirrors(home: Path) -> dict[str, str]:
    entries = tomllib.loads((home / MIRRORS).read_text())["registry"]
    assert all(entry["location"] == entry["prefix"] for entry in entries)
    return {entry["prefix"]: entry["mirror"][0]["location"] for entry in entries}


def test_each_registry_has_a_mirror_whose_path_names_it(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    registries = ("--registry", "docker.io", "--registry", "Quay.io", "--registry", "127.0.0.2:5000")
    assert main(["setup", "podman", *AT, *registries]) == 0
    assert mirrors(home) == {
        "docker.io": "127.0.0.1:21005/docker.io",
        "quay.io": "127.0.0.1:21005/quay.io",
        "127.0.0.2:5000": "127.0.0.1:21005/127.0.0.2_5000",
    }
    assert "podman, skopeo, buildah is not in PATH; where it is, try: podman pull" in capsys.readouterr().err


def test_the_usual_registries_and_again_the_same(home: Path) -> None:
    assert main(["setup", "podman", *AT]) == 0
    first = (home / MIRRORS).stat()
    assert {"docker.io", "quay.io", "ghcr.io", "community.wave.seqera.io"} <= mirrors(home).keys()
    assert main(["setup", "podman", *AT]) == 0
    assert (home / MIRRORS).stat().st_ino == first.st_ino
    assert main(["setup", "podman", *AT, "--registry", "quay.io"]) == 0
    assert mirrors(home).keys() == {"quay.io"}
    assert main(["setup", "podman", "--undo"]) == 0
    assert not list((home / DROP_INS).iterdir())


def test_an_entry_of_somebody_else_is_not_overridden(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    theirs = home / DROP_INS / "50-site.conf"
    theirs.parent.mkdir(parents=True)
    theirs.write_text(
        '[[registry]]\nlocation = "docker.io"\n[[registry.mirror]]\nlocation = "hub.site.example"\n'
        '[[registry]]\nprefix = "*.gcr.io"\nblocked = true\n'
        '[[registry]]\nprefix = "quay.io/biocontainers"\nlocation = "quay.site.example/biocontainers"\n'
    )
    assert main(["setup", "podman", *AT]) == 0
    said = capsys.readouterr().out
    assert f"{theirs} has an entry for docker.io: docker.io is left as it says" in said
    assert f"{theirs} has an entry for *.gcr.io: us.gcr.io is left as it says" in said
    assert f"{theirs} has an entry for quay.io/biocontainers: images below it go by that, not by wavelet" in said
    assert {"docker.io", "us.gcr.io"} & mirrors(home).keys() == set()
    assert {"quay.io", "gcr.io"} <= mirrors(home).keys()
    assert main(["setup", "podman", *AT, "--registry", "docker.io"]) == 0
    assert "no plain name comes through wavelet: none of docker.io is free" in capsys.readouterr().out


def test_the_nodes_files_lie_below_a_root(home: Path) -> None:
    root = home / "host"
    assert main(["setup", "podman", "--system", "--root", str(root), *AT]) == 0
    written = root / "etc/containers/registries.conf.d/wavelet-mirrors.conf"
    assert written.stat().st_mode & 0o777 == 0o644
    assert main(["setup", "podman", "--system", "--root", str(root), "--undo"]) == 0
    assert not list(written.parent.iterdir())


def test_apptainer_reads_the_same_file_and_gets_mirrors_only_on_request(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program = home / "bin/apptainer"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    assert main(["setup", "podman", *AT]) == 0
    assert "Apptainer reads these files, too" in capsys.readouterr().out
    assert main(["setup", "podman", "--undo"]) == 0

    assert main(["setup", "apptainer", *AT]) == 0
    assert not (home / MIRRORS).exists()
    capsys.readouterr()
    assert main(["setup", "apptainer", *AT, "--mirror", "--registry", "docker.io"]) == 0
    assert (
        "never the registry itself: while the daemon is down, docker:// names of docker.io" in capsys.readouterr().out
    )
    assert mirrors(home).keys() == {"docker.io"}


@pytest.mark.parametrize("registry", ["quay", "https://quay.io", "quay.io/biocontainers", ""])
def test_a_registry_is_a_host(home: Path, registry: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["setup", "podman", *AT, "--registry", registry]) == 2
    assert "is not a registry's host as in image names" in capsys.readouterr().err
    assert not (home / ".config").exists()
