"""The look at a shared directory before each work."""

from __future__ import annotations

from pathlib import Path

import pytest

from wavelet.cluster.shared_directory.directory_io import DirectoryIo


def test_a_directory_that_another_thread_makes_meanwhile_is_not_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "shared"
    directory = DirectoryIo(root)
    look = Path.stat

    def stat(path: Path, *, follow_symlinks: bool = True) -> object:
        try:
            return look(path, follow_symlinks=follow_symlinks)
        except FileNotFoundError:
            if path == root:
                monkeypatch.setattr(Path, "stat", look)
                root.mkdir()
                directory.look()
            raise

    monkeypatch.setattr(Path, "stat", stat)
    directory.look()
    root.rmdir()
    with pytest.raises(FileNotFoundError):
        directory.look()
    directory.close()
