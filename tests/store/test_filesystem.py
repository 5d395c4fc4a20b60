from pathlib import Path

import pytest

from wavelet.config import ConfigError
from wavelet.store import filesystem
from wavelet.store.filesystem import filesystem_of, refuse_network_filesystem

MOUNTS = """\
/dev/vda / ext4 rw 0 0
home:/export /home nfs4 rw 0 0
systemd-1 /scratch autofs rw 0 0
mds@tcp:/lfs /scratch lustre rw 0 0
tmpfs /home/me/with\\040space tmpfs rw 0 0
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/lib/wavelet", "ext4"),
        ("/homes/x", "ext4"),
        ("/home", "nfs4"),
        ("/home/me/.local/state", "nfs4"),
        ("/home/me/with space/x", "tmpfs"),
        ("/scratch/x", "lustre"),
    ],
)
def test_the_mount_that_holds_a_path(path: str, kind: str) -> None:
    assert filesystem_of(Path(path), MOUNTS)[1] == kind


def test_a_network_file_system_is_refused_with_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = tmp_path / "mounts"
    table.write_text(f"/dev/vda / ext4 rw 0 0\nserver:/x {tmp_path}/net nfs4 rw 0 0\n")
    monkeypatch.setattr(filesystem, "_MOUNTS", table)
    refuse_network_filesystem(tmp_path / "local")
    with pytest.raises(ConfigError, match=r"nfs4, server:/x.*local disk"):
        refuse_network_filesystem(tmp_path / "net" / "not" / "yet")


def test_a_link_into_a_network_file_system_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = tmp_path / "mounts"
    table.write_text(f"/dev/vda / ext4 rw 0 0\nserver:/x {tmp_path}/net cifs rw 0 0\n")
    monkeypatch.setattr(filesystem, "_MOUNTS", table)
    (tmp_path / "net").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "net")
    with pytest.raises(ConfigError, match="cifs"):
        refuse_network_filesystem(tmp_path / "link" / "state")


def test_this_machines_own_table_is_read(tmp_path: Path) -> None:
    refuse_network_filesystem(tmp_path)
