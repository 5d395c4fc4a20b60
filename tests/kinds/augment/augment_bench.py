"""Layers as files, and all that fitting them to an image asks of a maker's `Work`, in this process."""

from __future__ import annotations

import asyncio
import contextlib
import io
import tarfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from wavelet.image.augment import AddedLayer
from wavelet.image.image import OCI_LAYER, Content, Descriptor, FromLocation
from wavelet.image.reference import Digest
from wavelet.kinds.augment.fitting import Below, Fitted, fitted

T = TypeVar("T")
Files = Mapping[str, bytes | str]


class Hard(str):
    """The other name of a file, as a hard link's target; a plain `str` is a symbolic link's."""

    __slots__ = ()


def tar(files: Files, *, keep: bool = False, directories: bool = False) -> bytes:
    """Return a tar of files in their order; with `keep`, each gives way to what the image has."""
    buffer = io.BytesIO()
    names: dict[str, bytes | str] = {}
    for name, content in files.items():
        parents = [f"{parent}/" for parent in map(str, reversed(Path(name).parents)) if parent != "."]
        names |= {parent: b"" for parent in parents if directories} | {name: content}
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT, errors="surrogateescape") as archive:
        for name, content in names.items():
            member = tarfile.TarInfo(name)
            member.pax_headers = {"WAVELET.keep": "existing"} if keep else {}
            if name.endswith("/"):
                member.type, member.mode = tarfile.DIRTYPE, 0o755
            elif isinstance(content, str):
                member.type = tarfile.LNKTYPE if isinstance(content, Hard) else tarfile.SYMTYPE
                member.linkname = str(content)
            else:
                member.size = len(content)
            archive.addfile(member, io.BytesIO(content) if isinstance(content, bytes) else None)
    return buffer.getvalue()


def unpacked(data: bytes) -> dict[str, bytes | str]:
    """Return what a layer has, as `tar` takes it, without directories; how it is compressed does not matter."""
    found: dict[str, bytes | str] = {}
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:*") as archive:
        for member in archive:
            if member.isreg():
                found[member.name] = archive.extractfile(member).read()  # type: ignore[union-attr]
            elif not member.isdir():
                found[member.name] = Hard(member.linkname) if member.islnk() else member.linkname
    return found


class Bench:
    """Keeps layers in a directory. `runs` are the functions that were called, `lines` the log."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.lines: list[str] = []
        self.runs: list[str] = []

    def layer(self, data: bytes) -> Content:
        """Have a layer."""
        digest = Digest.of(data)
        (self._directory / digest.hex).write_bytes(data)
        return Content(Descriptor(OCI_LAYER, digest, len(data)), FromLocation("inline:", digest))

    def added(self, data: bytes, architecture: str | None = None) -> tuple[AddedLayer, Content]:
        """Have a layer that is added."""
        content = self.layer(data)
        digest = content.descriptor.digest
        return AddedLayer(digest, len(data), digest, "tar", architecture), content

    def fit(
        self, below: Sequence[bytes], added: Sequence[tuple[AddedLayer, Content]], env: Mapping[str, str] | None = None
    ) -> Fitted:
        """Return added layers as they fit an image of these tars, the lowest first."""
        image = Below([self.layer(each) for each in below], "amd64", env or {})
        return asyncio.run(fitted(image, added, self))  # type: ignore[arg-type]  # as much of it as is asked for

    def contents(self, content: Content) -> dict[str, bytes | str]:
        """Return what a layer has."""
        return unpacked((self._directory / content.descriptor.digest.hex).read_bytes())

    async def path(self, content: Content) -> Path:
        return self._directory / content.descriptor.digest.hex

    @contextlib.asynccontextmanager
    async def scratch(self, size: int) -> AsyncIterator[Path]:
        directory = self._directory / f"scratch-{len(self.runs)}"
        directory.mkdir()
        yield directory
        assert sum(path.stat().st_size for path in directory.iterdir()) <= size

    async def adopt(self, file: Path, descriptor: Descriptor, *, derived: bool = False) -> Content:
        data = file.read_bytes()
        assert Digest.of(data) == descriptor.digest
        content = self.layer(data)
        file.unlink()
        return content

    async def run(self, function: Callable[..., T], *arguments: object) -> T:
        self.runs.append(function.__name__)
        return await asyncio.to_thread(function, *arguments)

    def report(self, line: str) -> None:
        self.lines.append(line)
