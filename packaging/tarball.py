"""Makes `wavelet-<version>-linux-<arch>.tar.gz`: wavelet with its own Python, for machines without a new one.

Run it by the Python of a virtual environment with nothing but wavelet in it: this environment is what is packed. The
same environment and SOURCE_DATE_EPOCH give the same bytes.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import sys
import tarfile
import tempfile
from pathlib import Path

import bundle
from isal import igzip

LEVEL = 2
"""ISA-L's output at higher levels depends on the CPU. Against zlib: a sixth of the time, 12 % more bytes."""

DEFAULT_EPOCH = 1_700_000_000
"""The files' time, in unix seconds, where SOURCE_DATE_EPOCH does not say."""


def main() -> int:
    """Make the tarball."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--directory", type=Path, default=Path("dist"), help="where to put it (dist)")
    options = parser.parse_args()
    if sys.prefix == sys.base_prefix:
        raise SystemExit("run this by the Python of a virtual environment that has the wheel installed")
    name = f"wavelet-{importlib.metadata.version('wavelet')}-linux-{platform.machine()}"
    options.directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory).resolve() / name
        bundle.make(root)
        made = pack(root, options.directory / f"{name}.tar.gz")
    print(f"{made} ({made.stat().st_size / 1e6:.0f} MB)")  # noqa: T201
    return 0


def pack(root: Path, target: Path) -> Path:
    """Write a tree as a tar whose members are sorted, root's, and of one time."""
    epoch = int(os.environ.get("SOURCE_DATE_EPOCH", DEFAULT_EPOCH))
    unfinished = target.with_name(f".{target.name}.part")

    def plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.uid = member.gid = 0
        member.uname = member.gname = ""
        member.mtime = epoch
        member.mode = 0o755 if member.isdir() or member.mode & 0o111 else 0o644
        return member

    with (
        unfinished.open("wb") as output,
        igzip.IGzipFile("", "wb", LEVEL, output, epoch) as packed,  # type: ignore[no-untyped-call]
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for path in [root, *sorted(root.rglob("*"))]:
            archive.add(path, path.relative_to(root.parent), recursive=False, filter=plain)
    return unfinished.replace(target)


if __name__ == "__main__":
    sys.exit(main())
