"""Who could change a file: its owner, its mode, those of all directories above, and of links on the way."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from wavelet.host.ownership import UnsafeOwner, check_owned, trusted_owners

STRANGER = 54321

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away, and mounts")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    for directory in (tmp_path / "site", tmp_path / "site" / "rules.d"):
        directory.mkdir(0o755)
    path = tmp_path / "site" / "rules.d" / "10-site.yaml"
    path.write_text("[]")
    path.chmod(0o644)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(UnsafeOwner) as caught:
        check_owned(path, trusted_owners(), "the rules")
    return caught.value.message


def run(message: str) -> None:
    """Do what the command does that a message ends with."""
    name, change, path = message.partition("; run: ")[2].split()
    if name == "chown":
        shutil.chown(path, change)
    else:
        who, _, _ = change.partition("-")
        Path(path).chmod(Path(path).stat().st_mode & ~{"g": 0o020, "go": 0o022}[who])


def test_what_only_the_site_can_write(file: Path) -> None:
    check_owned(file, trusted_owners(), "the rules")
    check_owned(file.parent, trusted_owners(), "the rules")


@pytest.mark.parametrize("level", [0, 1, 2])
def test_what_its_group_or_anybody_can_write(file: Path, level: int) -> None:
    entry = (file, *file.parents)[level]
    mode = entry.stat().st_mode
    entry.chmod(mode | 0o020)
    assert refusal(file) == f"{entry} can be written by its group, who could change the rules; run: chmod g-w {entry}"
    entry.chmod(mode | 0o022)
    message = refusal(file)
    assert message == f"{entry} can be written by anybody, who could change the rules; run: chmod go-w {entry}"
    run(message)
    check_owned(file, trusted_owners(), "the rules")


def test_a_sticky_directory_above_is_good_but_not_as_what_is_read(file: Path) -> None:
    file.parent.parent.chmod(0o1777)
    check_owned(file, trusted_owners(), "the rules")
    file.parent.chmod(0o1777)
    check_owned(file, trusted_owners(), "the rules")
    assert "can be written by anybody" in refusal(file.parent)


@as_root
@pytest.mark.parametrize("level", [0, 1, 2])
def test_what_belongs_to_somebody_else(file: Path, level: int) -> None:
    entry = (file, *file.parents)[level]
    os.chown(entry, STRANGER, STRANGER)
    message = refusal(file)
    assert message == f"{entry} belongs to uid 54321, who could change the rules; run: chown root {entry}"
    run(message)
    check_owned(file, trusted_owners(), "the rules")


def test_the_owners_are_who_is_named(file: Path) -> None:
    with pytest.raises(UnsafeOwner, match=rf"^/ belongs to uid 0, .*; run: chown {STRANGER} /$"):
        check_owned(file, [STRANGER], "the rules")


def test_links_lead_through_what_is_checked_too(file: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.yaml"
    link.symlink_to("site/../site/rules.d/10-site.yaml")
    check_owned(link, trusted_owners(), "the rules")
    file.parent.chmod(0o775)
    assert refusal(link).startswith(f"{file.parent} can be written by its group")


@as_root
def test_a_link_of_somebody_else(file: Path, tmp_path: Path) -> None:
    tmp_path.chmod(0o1777)
    link = tmp_path / "link.yaml"
    link.symlink_to(file)
    os.chown(link, STRANGER, STRANGER, follow_symlinks=False)
    assert refusal(link).endswith(f"run: chown -h root {link}")


def test_a_config_map_of_kubernetes(tmp_path: Path) -> None:
    """Its files are links into a directory that one link names."""
    (tmp_path / "..2026").mkdir(0o755)
    (tmp_path / "..2026" / "10-site.yaml").write_text("[]")
    (tmp_path / "..data").symlink_to("..2026")
    link = tmp_path / "10-site.yaml"
    link.symlink_to("..data/10-site.yaml")
    check_owned(link, trusted_owners(), "the rules")
    (tmp_path / "..2026" / "10-site.yaml").chmod(0o664)
    assert refusal(link).startswith(f"{tmp_path}/..2026/10-site.yaml can be written by its group")


@as_root
@pytest.mark.process
def test_a_directory_on_a_mount_that_is_read_only(file: Path) -> None:
    """The directory of a config map has the mode 0777, and what is in it does not."""
    file.parent.chmod(0o777)
    script = 'mount --bind -o ro "$1" "$1" && exec "$2" -c "$3" "$4"'
    check = (
        "import sys; from pathlib import Path; from wavelet.host.ownership import check_owned;"
        " check_owned(Path(sys.argv[1]), {0}, 'the rules')"
    )

    def checked(path: Path) -> subprocess.CompletedProcess[str]:
        command = ["unshare", "--mount", "sh", "-c", script, "sh", str(file.parent), sys.executable, check, str(path)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    assert checked(file).stderr == ""
    assert checked(file.parent).returncode == 0
    file.chmod(0o666)
    assert f"{file} can be written by anybody" in checked(file).stderr
    file.chmod(0o644)
    assert refusal(file).startswith(f"{file.parent} can be written by anybody")


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        check_owned(tmp_path / "missing" / "file", trusted_owners(), "the rules")


def test_links_in_a_circle(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(OSError, match="Too many levels"):
        check_owned(tmp_path / "a", trusted_owners(), "the rules")


def test_paths_are_quoted_for_the_shell(tmp_path: Path) -> None:
    path = tmp_path / "two words"
    path.write_text("")
    path.chmod(0o622)
    assert refusal(path).endswith(f"run: chmod go-w '{path}'")
