"""The unix sockets: their modes, and what lies in their place."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest

from lab.users import passable_directory
from wavelet.client import target
from wavelet.config import ConfigError, Grpc, Settings
from wavelet.front.grpc.sockets import closed_directory, make_directory, open_listener, paths_of


@pytest.mark.parametrize("mode", [0o666, 0o660])
def test_a_socket_has_its_mode_whatever_the_umask_is(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "a.sock"
    before = os.umask(0o077)
    try:
        listener = open_listener(path, mode, "", "grpc.socket")
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == mode
    listener.close()
    assert not path.exists()


def test_the_socket_of_a_dead_daemon_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(path))
    dead.close()
    listener = open_listener(path, 0o666, "", "grpc.socket")
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    listener.close()


def test_the_socket_of_a_living_daemon_is_left_alone_and_its_process_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    listener = open_listener(path, 0o666, "", "grpc.socket")
    with pytest.raises(ConfigError, match=rf"in use by a running wavelet \(process {os.getpid()}\)"):
        open_listener(path, 0o666, "", "grpc.socket")
    assert path.exists()
    listener.close()


def test_what_is_no_socket_is_never_removed(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    path.write_text("precious")
    with pytest.raises(ConfigError, match="is no socket"):
        open_listener(path, 0o666, "", "grpc.socket")
    assert path.read_text() == "precious"


def test_a_socket_that_took_ones_place_is_left_when_one_ends(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    first = open_listener(path, 0o666, "", "grpc.socket")
    path.rename(tmp_path / "moved.sock")
    second = open_listener(path, 0o666, "", "grpc.socket")
    first.close()
    assert path.exists()
    second.close()


def test_an_unknown_group_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no group 'nonesuch'"):
        open_listener(tmp_path / "a.sock", 0o660, "nonesuch", "grpc.admin_socket")


def test_a_private_directory_is_closed_to_others(tmp_path: Path) -> None:
    path = tmp_path / "own"
    path.mkdir(mode=0o755)
    make_directory(path, private=True)
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    link = tmp_path / "link"
    link.symlink_to(path)
    with pytest.raises(ConfigError, match="no directory"):
        make_directory(link, private=True)


def test_the_sockets_are_where_the_settings_say(tmp_path: Path) -> None:
    beside = Path("/x/wavelet.sock"), Path("/x/admin.sock")
    assert paths_of(Settings(grpc=Grpc(socket="/x/wavelet.sock"))) == beside
    assert paths_of(Settings(state=str(tmp_path))) == (tmp_path / "wavelet.sock", tmp_path / "admin.sock")
    apart = paths_of(Settings(state=str(tmp_path), grpc=Grpc(admin_socket="/y/a.sock")))
    assert apart == (tmp_path / "wavelet.sock", Path("/y/a.sock"))


def test_a_directory_on_the_way_that_users_cannot_pass_is_named() -> None:
    """Fault C4: a socket with mode 0666 in a state directory with mode 0700."""
    with passable_directory() as directory:
        closed = directory / "site" / "state"
        (closed / "deep").mkdir(parents=True)
        closed.chmod(0o700)
        assert closed_directory(closed / "deep" / "wavelet.sock") == closed
        closed.chmod(0o711)
        assert closed_directory(closed / "deep" / "wavelet.sock") is None


def test_who_cannot_pass_is_told_the_directory_and_the_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fault C4: the error spoke of the admin socket."""
    path = tmp_path / "state" / "wavelet.sock"
    monkeypatch.setattr(target.os, "access", lambda each, *_, **__: Path(each) != tmp_path / "state")
    assert f"the directory {tmp_path / 'state'} is closed to others" in target._why_closed(str(path))
    assert "grpc.socket" in target._why_closed(str(path))
    monkeypatch.setattr(target.os, "access", lambda *_, **__: True)
    assert "the admin socket is for root" in target._why_closed(str(path))
