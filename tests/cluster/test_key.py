import subprocess
import sys
from pathlib import Path

import pytest

from wavelet.cluster.key import key_path, load_key
from wavelet.config import ConfigError, load


def test_it_is_made_once(tmp_path: Path) -> None:
    path = tmp_path / "state" / "cluster.key"
    key = load_key(path)
    assert len(key) == 32
    assert load_key(path) == key
    assert path.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in path.parent.iterdir()] == ["cluster.key"]


@pytest.mark.process
def test_daemons_that_start_at_once_agree(tmp_path: Path) -> None:
    code = "import sys, pathlib, wavelet.cluster.key as k; print(k.load_key(pathlib.Path(sys.argv[1])).hex())"
    command = [sys.executable, "-c", code, str(tmp_path / "key")]
    for _ in range(3):
        started = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(4)]
        assert len({process.communicate(timeout=30)[0].splitlines()[-1] for process in started}) == 1
        (tmp_path / "key").unlink()


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o660, 0o601])
def test_a_key_that_others_can_use_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "key"
    load_key(path)
    path.chmod(mode)
    with pytest.raises(ConfigError, match=f"chmod 600 {path}"):
        load_key(path)


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_key_of_the_wrong_size_is_refused(tmp_path: Path, size: int) -> None:
    path = tmp_path / "key"
    path.write_bytes(b"x" * size)
    path.chmod(0o600)
    with pytest.raises(ConfigError, match=f"32 bytes, not {size}"):
        load_key(path)


def test_a_directory_and_a_dangling_link_are_refused(tmp_path: Path) -> None:
    (tmp_path / "directory").mkdir(mode=0o700)
    with pytest.raises(ConfigError, match="plain file"):
        load_key(tmp_path / "directory")
    (tmp_path / "link").symlink_to(tmp_path / "nothing")
    with pytest.raises(ConfigError, match="dangling"):
        load_key(tmp_path / "link")


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="make it by hand"):
        load_key(tmp_path / "file" / "key")


def test_where_it_is(tmp_path: Path) -> None:
    state = {"state": str(tmp_path)}
    assert key_path(load(None, {}, state)) == tmp_path / "cluster.key"
    assert key_path(load(None, {}, state | {"records.directory": "/shared/r"})) == Path("/shared/r/cluster.key")
    assert key_path(load(None, {}, state | {"records.key_file": "/etc/wavelet/key"})) == Path("/etc/wavelet/key")
