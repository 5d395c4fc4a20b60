"""What `wavelet setup` has written is known afterwards, with the command that takes it back."""

from __future__ import annotations

from pathlib import Path

import pytest

from wavelet.cli.main import main
from wavelet.cli.setup.left import set_up

AT = ("--authority", "127.0.0.1:21005")


def test_each_file_has_the_command_that_takes_it_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, home = tmp_path / "root", tmp_path / "home"
    root.mkdir()
    for name in ("XDG_CONFIG_HOME", "CONTAINERS_REGISTRIES_CONF", "WAVELET_SOCKET", "WAVELET_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    own = {"HOME": str(home)}
    assert list(set_up(own, root)) == []
    for arguments in (("podman",), ("containerd", "--registry", "quay.io"), ("docker", "--user")):
        assert main(["setup", *arguments, *AT, "--root", str(root)]) == 0
    found = {str(path.relative_to(tmp_path)): remedy for path, remedy in set_up(own, root)}
    drop_ins = "home/.config/containers/registries.conf.d"
    assert found == {
        f"{drop_ins}/wavelet-127.0.0.1-21005.conf": "wavelet setup apptainer --user --undo",
        f"{drop_ins}/wavelet-mirrors.conf": "wavelet setup apptainer --user --undo",
        "home/.config/docker/daemon.json": "wavelet setup docker --user --undo",
        "root/etc/containerd/certs.d/quay.io/hosts.toml": "wavelet setup containerd --system --undo",
    }
    for remedy in set(found.values()):
        assert main([*remedy.split()[1:], "--root", str(root)]) == 0
    assert list(set_up(own, root)) == []
