"""An image's layers unpacked into a directory, as by an unprivileged user can: one owner, no devices, no set-user-ID.

Layers are data of others: every path is resolved inside the directory, link by link, before anything is written.
`image` is what errors call the image. The functions without an underscore are called in a worker process.
"""

from __future__ import annotations

import math
import os
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from wavelet import directory_trees
from wavelet.archive.inflated import open_inflated
from wavelet.archive.tar_reader import CHUNK, DAMAGED, Bounds, Member, members_of
from wavelet.directory_trees import DEPTH_LIMIT
from wavelet.engine.limits import INFLATED_LIMIT
from wavelet.engine.protocol import OWN, OWN_DIRECTORIES
from wavelet.errors import EngineFailed, UpstreamBroken
from wavelet.quantities import size as size_of

_DIRECTORIES = ("dev", "proc", "sys", "tmp", "var/tmp")
"""What a root file system has, whatever its image has."""

_DEVICES = ("full", "null", "random", "urandom", "zero")
_STANDARD = {
    "fd": "/proc/self/fd",
    "stdin": "/proc/self/fd/0",
    "stdout": "/proc/self/fd/1",
    "stderr": "/proc/self/fd/2",
}
_LINKS_LIMIT = 40
"""Symbolic links on the way to a path, as in Linux."""
_WHITEOUT, _OPAQUE = ".wh.", ".wh..wh..opq"


def inflated(layers: Sequence[Path], image: str) -> int:
    """Return how many bytes of tar these blobs are.

    Raises:
        UpstreamBroken: one is damaged, or they are more than any image has.
    """
    size = 0
    try:
        for layer in layers:
            with open_inflated(layer) as raw:
                while chunk := raw.read(CHUNK):
                    size += len(chunk)
                    if size > INFLATED_LIMIT:
                        raise _broken(image, f"its layers inflate to more than {size_of(INFLATED_LIMIT)}")
    except DAMAGED as error:
        raise _broken(image, str(error)) from None
    return size


def unpack_part(layers: Sequence[Path], root: Path, owner: int | None, image: str) -> None:
    """Unpack some blobs of an image, the lowest first, into an empty directory; all of it is given to `owner`.

    Raises:
        UpstreamBroken: a layer is damaged, or has a path that makes no sense.
        EngineFailed: the file system does not take it.
    """
    try:
        made = _Root(root, image)
        made.apply_all(layers)
        made.forget_own()
        _give(root, owner)
    except OSError as error:
        raise EngineFailed(f"an image cannot be unpacked: {error.strerror}") from None


def unpack(layers: Sequence[Path], root: Path, owner: int | None, image: str, base: Path | None = None) -> None:
    """Unpack blobs, the lowest first, into an empty directory or over a copy of `base`.

    All of it is given to `owner` (None: is left).

    Raises:
        UpstreamBroken: a layer is damaged, or has a path that makes no sense.
        EngineFailed: the file system does not take it.
    """
    try:
        if base is not None:
            _copy(base, root)
        made = _Root(root, image)
        made.apply_all(layers)
        made.add_engine_places()
        _give(root, owner)
    except OSError as error:
        raise EngineFailed(f"an image cannot be unpacked: {error.strerror}") from None


def _copy(base: Path, root: Path) -> None:
    """Copy a directory's contents; a copy takes a tenth of what inflating takes, and less where files share blocks."""
    command = ["cp", "-a", "--reflink=auto", "--", f"{base}/.", str(root)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise EngineFailed(f"an unpacked image cannot be copied: {done.stderr.strip()[-500:]}")


def add_engine_places(root: Path, owner: int | None) -> None:
    """Make what is the engine's in an empty directory that is the uppermost one of an overlay."""
    _Root(root, "").add_engine_places()
    _give(root, owner)


def _give(root: Path, owner: int | None) -> None:
    if owner is not None:
        os.chown(root, owner, owner)
        for entry in directory_trees.walk(root):
            os.chown(entry.path, owner, owner, follow_symlinks=False)


def _broken(image: str, why: str) -> UpstreamBroken:
    return UpstreamBroken(f"{image} cannot be unpacked: {why}")


class _Root:
    """A directory that layers are applied to."""

    def __init__(self, root: Path, image: str) -> None:
        self._root = root
        self._image = image
        self._parents: dict[str, Path] = {}

    def apply_all(self, layers: Sequence[Path]) -> None:
        """Apply layers' files, the lowest first."""
        for layer in layers:
            with open_inflated(layer) as raw:
                self._apply(members_of(raw, Bounds(INFLATED_LIMIT, self._broken, members=math.inf)))

    def _broken(self, why: str) -> UpstreamBroken:
        return _broken(self._image, why)

    def _apply(self, members: Iterator[Member]) -> None:
        """Apply one layer (image-spec layer.md)."""
        written: set[Path] = set()
        for member in members:
            parent, _, name = member.path.rpartition("/")
            if member.path in ("", "."):
                continue
            if name in ("", ".", "..") or "\0" in member.path:
                raise self._broken(f"{member.path!r} is no path in it")
            place = self._directory(parent) / name
            if name == _OPAQUE:
                for child in place.parent.iterdir():
                    if child not in written:
                        self._remove(child)
            elif name.startswith(_WHITEOUT):
                self._remove(place.with_name(name.removeprefix(_WHITEOUT)))
            else:
                self._write(member, place)
                written.update((place, *place.parents))

    def add_engine_places(self) -> None:
        """Make what is the engine's in other engines: directories, and places for devices."""
        self.forget_own()
        for path in (*_DIRECTORIES, *(f"{OWN}/{each}" for each in OWN_DIRECTORIES)):
            self._directory(path)
        dev = self._directory("dev")
        for name in _DEVICES:
            self._remove(dev / name)
            (dev / name).touch()
        for name, target in _STANDARD.items():
            self._remove(dev / name)
            (dev / name).symlink_to(target)

    def forget_own(self) -> None:
        """Remove what an image has where the daemon's own files go."""
        self._remove(self._root / OWN)

    def _write(self, member: Member, place: Path) -> None:
        if member.is_directory:
            if place.is_symlink() or not place.is_dir():
                self._remove(place)
                place.mkdir(0o755)
            return
        self._remove(place)
        if member.is_symlink:
            place.symlink_to(member.target)
        elif member.is_hard_link:
            parent, _, name = member.target.rpartition("/")
            other = self._directory(parent) / name
            if name in ("", ".", "..") or other.is_symlink() or not other.is_file():
                raise self._broken(f"{member.path!r} is a link to {member.target!r}, which is not there")
            place.hardlink_to(other)
        elif member.is_file:
            with place.open("xb") as file:
                for chunk in member.chunks():
                    file.write(chunk)
            place.chmod(0o755 if member.executable else 0o644)
            os.utime(place, (member.mtime, member.mtime))

    def _remove(self, place: Path) -> None:
        if place.is_symlink() or place.is_dir():
            self._parents.clear()
        directory_trees.remove(place)

    def _directory(self, path: str) -> Path:
        """Return where a directory is, made if need be."""
        known = self._parents.get(path)
        if known is not None:
            return known
        here: list[str] = []
        waiting = path.split("/")[::-1]
        links = 0
        while waiting:
            part = waiting.pop()
            if part in ("", "."):
                continue
            if part == "..":
                here = here[:-1]
                continue
            place = self._root.joinpath(*here, part)
            if place.is_symlink():
                links += 1
                if links > _LINKS_LIMIT:
                    raise self._broken(f"{path!r} has too many symbolic links on its way")
                target = str(place.readlink())
                here = [] if target.startswith("/") else here
                waiting += target.split("/")[::-1]
                continue
            here.append(part)
            if len(here) > DEPTH_LIMIT:
                raise self._broken(str(directory_trees.TooDeep(path)))
            if not place.is_dir():
                place.unlink(missing_ok=True)
                place.mkdir(0o755)
        return self._parents.setdefault(path, self._root.joinpath(*here))
