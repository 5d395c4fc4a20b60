"""A conda environment of real files: this machine's libraries and Python modules, in packages whose sizes fall as those
of real environments do (the largest has a quarter of all bytes, the 45 smallest of a hundred some 4 %).

A quarter of the bytes is small files, every third package is a noarch Python one; each has a binary and a script with a
placeholder to replace.
"""

from __future__ import annotations

import os
import site
import stat
import sysconfig
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path, PurePosixPath

from lab.conda_catalogue import packages as catalogue
from lab.conda_packages import PLACEHOLDER, Entry, File, Package, script
from lab.conda_python import python_package

BYTES = 450_000_000
"""Bytes of files in the packages made here; `python` and `tzdata` come to them."""

COUNT = 104
"""Packages made here, of which environments are chosen."""

CHANGED = (4, *range(20, 100, 8))
"""Ranks of packages of which there is a second version with other contents: about a tenth of all bytes."""

_STEEP = 1.5
_SMALL = range(1024, 64 * 1024)
_SMALL_SHARE = 0.25
_LIBRARY_ROOTS = ("/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib/gcc", "/usr/bin", "/usr/sbin")
_LEAST = 3000
_BLOCK = 1 << 20


def name_of(rank: int) -> str:
    """Return the name of the package that is number `rank` by size, from 1."""
    return f"part{rank:03}"


def packages() -> Iterator[Package]:
    """Yield the packages, one in memory at a time."""
    yield python_package()
    yield from catalogue("tzdata")
    pools = _Pools()
    weights = [(rank + 1) ** -_STEEP for rank in range(1, COUNT + 1)]
    sizes = [int(BYTES * weight / sum(weights)) for weight in weights]
    for rank, size in enumerate(sizes, 1):
        yield _package(rank, size, pools, "1.0")
    for rank in CHANGED:
        yield _package(rank, sizes[rank - 1], pools, "2.0")


def specs(*, without: int = 101, version: str = "1.0") -> list[str]:
    """Return specs of an environment of Python and 100 packages: all but four, the first of which is `without`.

    With `version` 2.0, those of which there is a second version are of that one.
    """
    chosen = [rank for rank in range(1, COUNT + 1) if rank not in range(without, without + 4)]
    return ["python", *(f"{name_of(rank)}={version if rank in CHANGED else '1.0'}" for rank in chosen)]


class _InBlocks(File):
    """A large file that is handed to tar in pieces."""

    def blocks(self) -> Iterator[bytes]:
        for start in range(0, len(self.content), _BLOCK):
            yield self.content[start : start + _BLOCK]


class _Pools:
    """Files of this machine, large ones and small ones, each handed out once as long as there are any."""

    def __init__(self) -> None:
        roots = [*_LIBRARY_ROOTS, sysconfig.get_path("stdlib"), *site.getsitepackages(), "/usr/lib/python3"]
        sizes = dict(sorted(each for root in dict.fromkeys(roots) for each in _regular(root)))
        self._small = cycle([path for path, size in sizes.items() if size in _SMALL])
        self._large = sorted((size, path) for path, size in sizes.items() if size >= _SMALL.stop)

    def small(self, size: int) -> Iterator[bytes]:
        """Yield small files of about `size` bytes in all."""
        while size > 0:
            data = Path(next(self._small)).read_bytes()
            size -= len(data)
            yield data

    def large(self, size: int) -> Iterator[bytes]:
        """Yield large files of not more than `size` bytes in all, the largest first."""
        while fitting := [each for each in self._large if each[0] <= size]:
            taken = fitting[-1]
            self._large.remove(taken)
            size -= taken[0]
            yield Path(taken[1]).read_bytes()


def _regular(root: str) -> Iterator[tuple[str, int]]:
    """Yield paths and sizes of files below `root` that anybody may read."""
    for directory, _, names in os.walk(root):
        for name in names:
            path = f"{directory}/{name}"
            found = os.lstat(path)
            if stat.S_ISREG(found.st_mode) and found.st_mode & stat.S_IROTH:
                yield path, found.st_size


def _package(rank: int, size: int, pools: _Pools, version: str) -> Package:
    name = name_of(rank)
    noarch = rank % 3 == 0
    home = f"site-packages/{name}" if noarch else f"lib/python3.11/site-packages/{name}"
    files: dict[str, Entry] = {}
    for number, data in enumerate(pools.large(int(size * (1 - _SMALL_SHARE)))):
        path = f"{home}/_native{number}.so" if noarch else f"lib/lib{name}-{number}.so"
        with_prefix = data + PLACEHOLDER.encode() + b"/lib\0"
        files[path] = _InBlocks(with_prefix, 0o755, "binary") if number == 0 else _InBlocks(data, 0o755)
        size -= len(data)
    for number, data in enumerate(pools.small(max(size, _LEAST))):
        files[str(PurePosixPath(home, f"part{number // 20}", f"module{number}.py"))] = File(data)
    tool = script(f"#!{PLACEHOLDER}/bin/python3\nprint({name!r}, {version!r})\n")
    files[f"python-scripts/{name}" if noarch else f"bin/{name}"] = tool
    return Package(
        name,
        version,
        files=files,
        subdir="noarch" if noarch else "linux-64",
        noarch="python" if noarch else "",
        depends=("python",),
    )
