"""`wavelet install-service`: what it writes, takes back, and that the daemon can write where its settings say."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest

from lab.daemon import Daemon
from lab.processes import run
from wavelet.cli.commands.install_service import PATHS, SYSTEM_UNITS, files_for, user_files, written_to
from wavelet.cli.main import main
from wavelet.config import load
from wavelet.errors import InvalidRequest

WAVELET = Path(sys.executable).with_name("wavelet")
READ_ONLY = """
set -e
for path in $WRITABLE; do mount --bind "$path" "$path"; done
mount -o remount,bind,ro /
for path in $WRITABLE; do mount -o remount,bind,rw "$path"; done
exec "$@"
"""
"""What `ProtectSystem=strict` with `ReadWritePaths=` does to a service, for all that it is about here."""


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    """Return a file of settings as docs/hpc.md has them: content and records in directories of the site's choice."""
    (tmp_path / "shared").mkdir()
    path = tmp_path / "config.yaml"
    path.write_text(f"state: {tmp_path}/local/wavelet\nrecords:\n  directory: {tmp_path}/shared\n")
    return path


def written(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def test_what_it_writes_is_what_it_removes(settings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "root"
    options = ["install-service", "--root", str(root), "--config", str(settings)]
    assert main([*options, "--dry-run"]) == 0
    assert not root.exists()
    assert f"ReadWritePaths={tmp_path}/local/wavelet" in capsys.readouterr().out
    assert main(options) == 0
    assert f"{SYSTEM_UNITS}/{PATHS}" in written(root)
    assert "etc/sysusers.d/wavelet.conf" in written(root)
    unit = (root / SYSTEM_UNITS / "wavelet.service").read_text()
    assert re.search(rf"^ExecStart=\S.* serve --config {settings}$", unit, re.MULTILINE)
    assert "systemctl enable --now wavelet.service" in capsys.readouterr().out
    assert main([*options, "--undo"]) == 0
    assert written(root) == []


def test_a_users_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setattr("sys.argv", [str(WAVELET)])
    assert main(["install-service", "--user"]) == 0
    assert f"exec {WAVELET} serve --listen" in (tmp_path / "systemd/user/wavelet.service").read_text()


def test_a_users_own_with_settings(tmp_path: Path) -> None:
    unit = user_files("/opt/wavelet", tmp_path / "my.yaml")["wavelet.service"]
    assert f"exec /opt/wavelet serve --config {tmp_path}/my.yaml --listen" in unit
    with pytest.raises(InvalidRequest, match="rename it"):
        user_files("/opt/wavelet", tmp_path / "it's.yaml")


def test_odd_paths_are_quoted_and_other_settings_leave_nothing_behind(tmp_path: Path) -> None:
    odd = load(None, {}, {"state": "/local/of 100%/wavelet"})
    assert 'ReadWritePaths="/local/of 100%%/wavelet"\n' in files_for(odd, "wavelet", None)[f"{SYSTEM_UNITS}/{PATHS}"]
    path, root = tmp_path / "config.yaml", tmp_path / "root"
    for state, there in ((tmp_path / "state", True), ("/var/lib/wavelet", False)):
        path.write_text(f"state: {state}\n")
        assert main(["install-service", "--root", str(root), "--config", str(path)]) == 0
        assert (f"{SYSTEM_UNITS}/{PATHS}" in written(root)) is there


def test_sif_files_are_written_too_and_what_is_below_another_directory_is_not_named() -> None:
    """A unit does not start where a path of ReadWritePaths is not there; `sif.directory` is made by the daemon."""
    shared = {"records": {"directory": "/shared/wavelet"}, "sif": {"directory": "/shared/wavelet/sif"}}
    assert [str(path) for path in written_to(load(None, {}, shared))] == ["/shared/wavelet"]
    apart = {"records": {"directory": "/shared/wavelet"}, "sif": {"directory": "/scratch/sif"}}
    assert [str(path) for path in written_to(load(None, {}, apart))] == ["/shared/wavelet", "/scratch/sif"]


def test_usual_places_need_no_drop_in() -> None:
    assert f"{SYSTEM_UNITS}/{PATHS}" not in files_for(load(None, {}, {"state": "/var/lib/wavelet/x"}), "wavelet", None)


@pytest.mark.systemd
def test_systemd_finds_nothing_wrong_with_it(settings: Path, tmp_path: Path) -> None:
    files = files_for(load(settings, {}, {}), str(WAVELET), settings)
    for name, text in files.items():
        path = tmp_path / "units" / Path(name).relative_to(SYSTEM_UNITS) if name.startswith(SYSTEM_UNITS) else None
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    found = run(["systemd-analyze", "verify", "--man=no", *(tmp_path / "units").glob("wavelet*.s*[et]")])
    assert (found.stdout, found.stderr) == ("", "")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_the_daemon_writes_where_its_settings_say(settings: Path, tmp_path: Path) -> None:
    """Fault F3: `state: /local/wavelet` under the unit failed, as `ProtectSystem=strict` allows no other directory."""
    root = tmp_path / "root"
    drop_in = files_for(load(settings, {}, {}), "wavelet", settings)[f"{SYSTEM_UNITS}/{PATHS}"]
    writable = re.findall("^ReadWritePaths=(.*)$", drop_in, re.MULTILINE)
    assert writable == [f"{tmp_path}/local/wavelet", f"{tmp_path}/shared"]
    state = Path(writable[0])
    state.mkdir(parents=True)
    variables = {"WRITABLE": " ".join(writable), "PYTHONDONTWRITEBYTECODE": "1"}
    node = Daemon(
        state,
        settings={"records": {"directory": writable[1]}},
        before=("unshare", "-m", "sh", "-c", READ_ONLY, "sh"),
        **variables,
    )
    node.start()
    try:
        assert not root.exists()
        assert node.get("/readyz").status == 200
        refused = run(["nsenter", "-t", str(node.pid), "-m", "touch", tmp_path / "elsewhere"], check=False)
        assert refused.returncode != 0, "nothing else can be written to"
    finally:
        node.stop()


def test_undone_with_other_settings_nothing_is_left(settings: Path, tmp_path: Path) -> None:
    """Fault F4: the drop-in of earlier settings stayed behind."""
    root = ["install-service", "--root", str(tmp_path / "root")]
    assert main([*root, "--config", str(settings)]) == 0
    settings.write_text("")
    assert main([*root, "--config", str(settings), "--undo"]) == 0
    assert not [path for path in (tmp_path / "root" / "etc").rglob("*") if path.is_file()]
