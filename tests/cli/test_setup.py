"""`wavelet setup`: what it writes is what podman and skopeo read, nothing else changes, and all of it can be undone."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from doubles.registry import Registry
from lab.daemon import Daemon
from lab.processes import run
from wavelet.cli.doctor.registries_conf import of_user
from wavelet.cli.main import main

DROP_INS = ".config/containers/registries.conf.d"
OURS = "wavelet-127.0.0.1-21005.conf"
ENTRY = '[[registry]]\nlocation = "127.0.0.1:21005"\ninsecure = true\n'
SEARCH = 'unqualified-search-registries = ["registry.example"]\n'

WITH_SYSTEM = """
set -e
mkdir -p /etc/containers/registries.conf.d
mount --bind "$1" /etc/containers/registries.conf.d
shift
"$@"
"""
"""Runs a command for which the system's drop-ins lie in a directory of the test's."""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return a home directory, in which the command runs with settings of a user's own daemon."""
    path = tmp_path / "home"
    path.mkdir()
    settings = tmp_path / "config.yaml"
    settings.write_text("listen: 127.0.0.1:21005\n")
    for name in ("XDG_CONFIG_HOME", "CONTAINERS_REGISTRIES_CONF", "WAVELET_SOCKET"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(path))
    monkeypatch.setenv("WAVELET_CONFIG", str(settings))
    monkeypatch.setenv("WAVELET_PRIVATE_PORT", "1")
    return path


def texts(directory: Path) -> dict[str, str]:
    return {
        str(path.relative_to(directory)): path.read_text() for path in sorted(directory.rglob("*")) if path.is_file()
    }


def test_a_drop_in_for_the_address_of_the_settings_and_nothing_else(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = home / ".config/containers/registries.conf"
    own.parent.mkdir(parents=True)
    own.write_text(SEARCH)
    before = texts(home)
    assert main(["setup", "apptainer", "--dry-run"]) == 0
    shown = capsys.readouterr().out
    assert f"# {home}/{DROP_INS}/{OURS}\n" in shown
    assert ENTRY in shown
    assert texts(home) == before

    assert main(["setup", "apptainer"]) == 0
    assert capsys.readouterr().out == f"{home}/{DROP_INS}/{OURS}\n"
    after = texts(home)
    assert after.pop(f"{DROP_INS}/{OURS}").endswith(ENTRY)
    assert after == before
    assert (home / DROP_INS / OURS).stat().st_mode & 0o777 == 0o644
    written = (home / DROP_INS / OURS).stat()
    assert main(["setup", "podman"]) == 0
    assert (home / DROP_INS / OURS).stat().st_ino == written.st_ino, "what is there already is not written again"

    assert main(["setup", "apptainer", "--undo", "--dry-run"]) == 0
    assert (home / DROP_INS / OURS).exists()
    assert main(["setup", "apptainer", "--undo"]) == 0
    assert texts(home) == before
    capsys.readouterr()
    assert main(["setup", "apptainer", "--undo"]) == 0
    assert "nothing to remove" in capsys.readouterr().out


def test_it_is_undone_whatever_the_settings_are_now_and_files_of_others_stay(home: Path) -> None:
    theirs = home / DROP_INS / "wavelet-mine.conf"
    theirs.parent.mkdir(parents=True)
    theirs.write_text(SEARCH)
    assert main(["setup", "apptainer"]) == 0
    assert main(["setup", "apptainer", "--authority", "localhost:9999"]) == 0
    assert len(texts(home)) == 3
    assert main(["setup", "apptainer", "--undo"]) == 0
    assert texts(home) == {f"{DROP_INS}/wavelet-mine.conf": SEARCH}


def test_newer_releases_look_below_xdg_config_home(home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    assert main(["setup", "apptainer"]) == 0
    assert [*texts(home), *texts(tmp_path / "xdg")] == [
        f"{DROP_INS}/{OURS}",
        f"containers/registries.conf.d/{OURS}",
    ]
    assert main(["setup", "apptainer", "--undo"]) == 0
    assert not texts(home) | texts(tmp_path / "xdg")


def test_an_entry_of_somebody_else_is_left_alone(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = home / ".config/containers/registries.conf"
    own.parent.mkdir(parents=True)
    own.write_text(ENTRY)
    assert main(["setup", "apptainer"]) == 0
    assert f"{own} has it already" in capsys.readouterr().out
    own.write_text(ENTRY.replace("true", "false"))
    assert main(["setup", "apptainer"]) == 2
    assert "add the line `insecure = true` to it" in capsys.readouterr().err
    own.write_text("[[registry]\n")
    assert main(["setup", "apptainer"]) == 1
    assert f"{own} cannot be used" in capsys.readouterr().err
    assert not (home / DROP_INS).exists()


@pytest.mark.parametrize("authority", ["cache.example:9090", "127.0.0.1", "http://127.0.0.1:9090", "10.0.0.7:9090"])
def test_only_addresses_of_this_machine_go_without_https(home: Path, authority: str) -> None:
    assert main(["setup", "apptainer", "--authority", authority]) == 2
    assert not texts(home)


def test_the_daemon_that_answers_is_set_up_as_it_is_named_in_images(
    daemon: Daemon, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WAVELET_SOCKET", str(daemon.state / "wavelet.sock"))
    assert main(["setup", "apptainer", "--dry-run"]) == 0
    assert f'location = "{daemon.authority}"\n' in capsys.readouterr().out


@pytest.mark.parametrize(
    "reader",
    [
        pytest.param(("skopeo", "inspect"), marks=pytest.mark.skopeo),
        pytest.param(("podman", "pull"), marks=pytest.mark.podman),
    ],
    ids=lambda reader: reader[0],
)
@pytest.mark.parametrize("own_file", [False, True], ids=["drop-in alone", "beside a registries.conf"])
async def test_real_engines_speak_http_then(home: Path, reader: tuple[str, ...], own_file: bool) -> None:
    if own_file:
        (home / ".config/containers").mkdir(parents=True)
        (home / ".config/containers/registries.conf").write_text(SEARCH)
    async with Registry() as registry:

        async def asks() -> bool:
            count = len(registry.requests)
            name = f"docker://{registry.host}/no/such:1"
            environment = {"PATH": os.environ["PATH"], "HOME": str(home)}
            await asyncio.to_thread(run, [*reader, name], check=False, environment=environment)
            return len(registry.requests) > count

        assert not await asks(), "https is what they speak otherwise"
        assert main(["setup", "apptainer", "--authority", registry.host]) == 0
        assert of_user({"HOME": str(home)}).speaks_http(registry.host)
        assert await asks()
        assert main(["setup", "apptainer", "--undo"]) == 0
        assert not await asks()


@pytest.mark.podman
@pytest.mark.skopeo
async def test_the_nodes_drop_in_is_for_everybody_without_a_file_of_their_own(home: Path, tmp_path: Path) -> None:
    folder = tmp_path / "registries.conf.d"
    folder.mkdir()

    def within(*command: str, check: bool = True) -> None:
        variables = {"PATH": os.environ["PATH"], "HOME": str(home)}
        run(["unshare", "-m", "sh", "-c", WITH_SYSTEM, "sh", folder, *command], check=check, environment=variables)

    async with Registry() as registry:
        command = (sys.executable, "-m", "wavelet.cli.main", "setup", "apptainer", "--system")
        inspect = ("skopeo", "inspect", f"docker://{registry.host}/no/such:1")
        await asyncio.to_thread(within, *command, "--authority", registry.host)
        assert [path.stat().st_mode & 0o777 for path in folder.iterdir()] == [0o644]
        await asyncio.to_thread(within, *inspect, check=False)
        assert registry.requests
        asked = len(registry.requests)
        # As the library has it: whoever has a main file gets none of the system's drop-ins.
        (home / ".config/containers").mkdir(parents=True)
        (home / ".config/containers/registries.conf").write_text(SEARCH)
        await asyncio.to_thread(within, *inspect, check=False)
        assert len(registry.requests) == asked
        assert not of_user({"HOME": str(home)}).speaks_http(registry.host)
        await asyncio.to_thread(within, *command, "--undo")
        assert not list(folder.iterdir())
