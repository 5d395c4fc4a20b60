"""Linking packages in tests, in this process or in another; as a program: `linked_packages.py ARCHIVE BLOB [PYTHON]`.

The program prints, as JSON, the layer's diff_id and digest, the codec, and how much memory the process had (bytes).
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from isal import igzip

from lab.conda_packages import PLACEHOLDER, File, HardLink, Noise, Package, Symlink, binary, script, text, write
from wavelet.kinds.conda.link.layer_info import LayerInfo
from wavelet.kinds.conda.link.package_linker import link_package

PREFIX = "/opt/conda"
LIMIT = 4 * 10**9
SECONDS = 50


class Linked(NamedTuple):
    """A package's layer and document."""

    blob: Path
    info: LayerInfo
    tar: bytes

    def members(self) -> Iterator[tarfile.TarInfo]:
        """Return the entries, in their order."""
        with tarfile.open(fileobj=io.BytesIO(self.tar)) as archive:
            yield from archive

    def read(self, path: str) -> bytes:
        """Return the contents of a file, or of the one that a hard link is of."""
        with tarfile.open(fileobj=io.BytesIO(self.tar)) as archive:
            file = archive.extractfile(f"opt/conda/{path}")
            assert file is not None
            return file.read()


def link(archive: Path, blob: Path, python: str = "3.11", site_packages: str = "", prefix: str = PREFIX) -> Linked:
    """Link a package in this process."""
    info = link_package(archive, blob, archive.name, prefix, python, site_packages, LIMIT).info
    return Linked(blob, info, igzip.decompress(blob.read_bytes()))


def link_new(package: Package, directory: Path, python: str = "3.11") -> Linked:
    """Write a package and link it."""
    return link(write(directory / "channel", package), directory / "layer", python)


def link_elsewhere(archive: Path, blob: Path, *, under: Sequence[str] = (), **environment: str) -> dict[str, Any]:
    """Link a package in a process of its own, perhaps under an emulator; return what the program prints."""
    argv = [*under, sys.executable, __file__, str(archive), str(blob)]
    path = ":".join(filter(None, sys.path))
    done = subprocess.run(
        argv, env={"PYTHONPATH": path} | environment, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def golden() -> Package:
    """Return a package with something of everything, the same for all time."""
    long = "/".join(["long-directory-" + "x" * 60] * 3)
    return Package(
        "golden",
        subdir="noarch",
        noarch="python",
        entry_points=("golden = golden.main:run", "golden-two = golden.main:Class.method"),
        files={
            "site-packages/golden/__init__.py": text("# nothing\n"),
            "site-packages/golden/main.py": text(f"PREFIX = '{PLACEHOLDER}'\n" * 3000),
            f"site-packages/golden/{long}/deep.txt": text("deep\n"),
            "python-scripts/golden-script": script(f"#!{PLACEHOLDER}/bin/python\nprint('script')\n"),
            "bin/golden-hard": HardLink("python-scripts/golden-script"),
            "lib/golden.so": binary(bytes(70_000) + PLACEHOLDER.encode() + b"/lib\0" + bytes(range(256)) * 300),
            "share/golden/noise": Noise(400_000, seed=7),
            "share/golden/empty": File(b""),
            "share/golden/naïve café": File("ü".encode(), 0o600),
            "share/golden/link": Symlink("../../lib/golden.so"),
            f"share/golden/{'l' * 120}": Symlink(f"../{'t' * 150}"),
        },
    )


if __name__ == "__main__":
    archive, blob, *python = sys.argv[1:]
    made = link_package(Path(archive), Path(blob), archive, PREFIX, *(python or ["3.12"]), "", LIMIT)
    (peak,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
    memory = int(peak.split()[1]) * 1024
    print(json.dumps({"diff_id": made.info.diff_id, "digest": made.info.digest, "codec": made.codec, "memory": memory}))
