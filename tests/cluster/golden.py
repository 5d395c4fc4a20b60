"""Directories as released versions have left them: what every later one has to read, under the same names."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from cluster.suite import Clock
from wavelet.cluster.records import Record
from wavelet.image.reference import Digest
from wavelet.kinds.table import FORMS
from wavelet.plan.node import INLINE, layers


class Golden(msgspec.Struct):
    """A directory with the cluster's key and the names that were given.

    Attributes:
        tokens: of each record, by what is special about it.
        files: the directory's, by their paths in it.
        pins: what of these names is decided or bound, and the name of the pin.
    """

    key: str
    tokens: dict[str, str]
    files: dict[str, str]
    pins: dict[str, str] = {}

    def record(self, name: str) -> Record:
        token = self.tokens[name]
        return Record.decode(self.files[f"{token[:2]}/{token}"].partition("\n")[2].encode(), FORMS)

    def inline(self, name: str) -> dict[Digest, bytes]:
        token = self.tokens[name]
        named = [layer.digest for layer in layers(self.record(name).plan) if layer.location == INLINE]
        beside = ((digest, f"{token[:2]}/{token}.sha256-{digest.hex}") for digest in named)
        return {digest: self.files[path].encode() for digest, path in beside if path in self.files}

    def write(self, root: Path) -> None:
        """Make the directory, as it was at the suite's time."""
        for name, content in self.files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
            os.utime(path, (Clock().now, Clock().now))


def load(version: int) -> Golden:
    """Return what a version has left."""
    return msgspec.json.decode((Path(__file__).parent / f"version_{version}.json").read_bytes(), type=Golden)
