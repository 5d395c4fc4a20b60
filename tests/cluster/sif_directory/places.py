"""What tests of the directory of SIF files have in common: daemons' views of one, and contents."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from wavelet.cluster.sif_directory.claiming import Patience
from wavelet.cluster.sif_directory.directory import Contents, SifDirectory, SifFile
from wavelet.cluster.sif_directory.names import SifName
from wavelet.config import Settings, Sif
from wavelet.plan.tokens import ANONYMOUS, Principal
from wavelet.upstream.file_ranges import FileRange, Piece

SHORT = Patience(beat=0.05, poll=0.02, stale=1.5, observed=0.6, wait=40.0)
"""That of nodes in tests; others than these are of one machine, and so of one clock."""


def opened(root: Path, *, limit: str = "1GB", lease: float = 3600.0, patience: Patience = SHORT) -> SifDirectory:
    return SifDirectory(settings(root, limit=limit, lease=lease), patience)


def settings(root: Path | str, *, limit: str = "1GB", lease: float = 3600.0) -> Settings:
    return Settings(sif=Sif(directory=str(root), limit=limit, lease=lease))


def name(number: int = 1, label: str = "library/ubuntu:24.04") -> SifName:
    return SifName(label, f"{number:032x}")


async def file_of(directory: SifDirectory, number: int = 1, principal: Principal = ANONYMOUS) -> SifFile:
    file = await directory.file(name(number), principal)
    assert file is not None
    return file


def contents(*pieces: bytes | tuple[Path, int, int], size: int | None = None) -> Contents:
    """Return contents of bytes, and of ranges of files: path, offset, size."""

    async def given() -> AsyncIterator[Piece]:
        for piece in pieces:
            if isinstance(piece, bytes):
                yield piece
            else:
                with piece[0].open("rb") as file:
                    yield FileRange(file.fileno(), piece[1], piece[2])

    @asynccontextmanager
    async def give() -> AsyncIterator[AsyncIterator[Piece]]:
        yield given()

    length = sum(len(each) if isinstance(each, bytes) else each[2] for each in pieces)
    return Contents(length if size is None else size, give)


class Maker:
    """Makes contents, and counts how often."""

    def __init__(self, data: bytes = b"sif", before: Callable[[], object] = lambda: None) -> None:
        self.calls = 0
        self._data = data
        self._before = before

    async def __call__(self) -> Contents:
        self.calls += 1
        self._before()
        return contents(self._data)


def left(root: Path) -> list[str]:
    """Return what is in the daemons' own directory."""
    return sorted(path.name for path in (root / ".wavelet").iterdir())
