"""The packages that conda has installed, as pip's resolver is told of them: as what it already has.

The resolver takes no account of conda, so each conda package becomes a constraint to an empty wheel of its name and
version: what needs that name gets this one or nothing, and never a second copy. A conda package that does not satisfy
a requirement makes the whole unsolvable, and the resolver's explanation says by which requirement.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from packaging.utils import NormalizedName, canonicalize_name
from packaging.version import InvalidVersion, Version

_DISTRIBUTIONS = {
    "brotli-python": "brotli",
    "dask-core": "dask",
    "matplotlib-base": "matplotlib",
    "msgpack-python": "msgpack",
    "py-opencv": "opencv-python",
    "py-xgboost": "xgboost",
    "pyarrow-core": "pyarrow",
    "pyqt": "pyqt5",
    "pytables": "tables",
    "python-annoy": "annoy",
    "python-flatbuffers": "flatbuffers",
    "python-graphviz": "graphviz",
    "python-igraph": "igraph",
    "python-kaleido": "kaleido",
    "python-lmdb": "lmdb",
    "python-tzdata": "tzdata",
    "python-xxhash": "xxhash",
    "pytorch": "torch",
    "seaborn-base": "seaborn",
    "snakemake-minimal": "snakemake",
    "tensorflow-base": "tensorflow",
}
"""Conda packages whose Python distribution has another name (that of the files in `site-packages/*.dist-info`)."""

_MOMENT = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Installed:
    """Python distributions that conda has installed.

    Attributes:
        versions: by normalised name (PEP 503).
        opaque: names whose conda version is none of Python's; they satisfy everything.
    """

    versions: Mapping[NormalizedName, Version]
    opaque: frozenset[NormalizedName]

    @classmethod
    def of(cls, present: Mapping[str, str]) -> Installed:
        """Return the distributions of conda packages with their versions."""
        versions: dict[NormalizedName, Version] = {}
        opaque: set[NormalizedName] = set()
        for package, text in sorted(present.items()):
            name = canonicalize_name(_DISTRIBUTIONS.get(package, package))
            try:
                versions[name] = Version(text)
            except InvalidVersion:
                opaque.add(name)
        return cls(versions, frozenset(opaque - versions.keys()))

    def named_in(self, text: str) -> list[str]:
        """Return `name version` of those that an explanation speaks of."""
        words = {canonicalize_name(word) for word in _words(text)}
        return [f"{name} {version}" for name, version in self.versions.items() if name in words]

    def write(self, directory: Path) -> tuple[Path, Path]:
        """Write the wheels, and return the files of constraints and of excluded names. Blocks."""
        wheels = directory / "installed"
        wheels.mkdir()
        constraints = [
            f"{name} @ {_write_wheel(wheels, name, version).as_uri()}\n" for name, version in self.versions.items()
        ]
        constraints_file, excluded_file = directory / "constraints.txt", directory / "excluded.txt"
        constraints_file.write_text("".join(constraints), "utf-8")
        excluded_file.write_text("".join(f"{name}\n" for name in sorted(self.opaque)), "utf-8")
        return constraints_file, excluded_file


def _write_wheel(directory: Path, name: str, version: Version) -> Path:
    stem = f"{name.replace('-', '_')}-{version}"
    members = {
        "METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        "WHEEL": "Wheel-Version: 1.0\nGenerator: wavelet\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{stem}.dist-info/{member},,\n" for member in (*members, "RECORD"))
    path = directory / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for member, text in (members | {"RECORD": record}).items():
            archive.writestr(zipfile.ZipInfo(f"{stem}.dist-info/{member}", _MOMENT), text)
    return path


def _words(text: str) -> Iterable[str]:
    """Yield what can be names in an explanation, without versions, extras and marks."""
    for mark in "<>=!~[](),;`'\"\n":
        text = text.replace(mark, " ")
    return text.split()
