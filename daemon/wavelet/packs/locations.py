"""Locations of packs' layers: `pack:<name>@<version>/<file>` in plans, `http://<authority>/packs/…` in documents. Pure.

A file's name is of the layer's digest, so that no location ever means something else, and of the architecture that the
layer is for, so that this survives a round trip through a client that knows of none.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from wavelet.image.reference import Digest
from wavelet.packs.model import NAME, Pack
from wavelet.plan.node import PACK, Layer

PATH = "/packs/"
"""Where packs are on this daemon."""

_DIGITS = 32
_FILE = re.compile(r"[0-9a-f]{32}(?:\.linux_([a-z0-9]+))?\.tar\.gz")


@dataclass(frozen=True, slots=True)
class PackLocation:
    """Where a layer is: of which pack (`<name>@<version>`), its file, and the architecture that this says."""

    reference: str
    file: str
    architecture: str | None

    @property
    def text(self) -> str:
        """As plans have it."""
        return f"{PACK}{self.reference}/{self.file}"


def location_of(reference: str, digest: Digest, architecture: str | None) -> str:
    """Return the location of a layer of the pack `<name>@<version>`."""
    suffix = f".linux_{architecture}" if architecture else ""
    return f"{PACK}{reference}/{digest.hex[:_DIGITS]}{suffix}.tar.gz"


def file_of(layer: Layer) -> str:
    """Return the name of a pack's layer's file."""
    return layer.location.rpartition("/")[2]


def read_location(text: str) -> PackLocation | None:
    """Return what a location in a plan says; None: it is not of a pack."""
    if not text.startswith(PACK):
        return None
    reference, _, file = text.removeprefix(PACK).partition("/")
    return _location(reference, file)


def read_url(url: str, authorities: frozenset[str]) -> PackLocation | None:
    """Return what a URL says that is of a pack of this daemon, which is called by `authorities`; None: it is not."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or parts.netloc.lower() not in authorities:
        return None
    if parts.query or not parts.path.startswith(PATH):
        return None
    reference, _, file = unquote(parts.path.removeprefix(PATH)).partition("/")
    return _location(reference, file)


def _location(reference: str, file: str) -> PackLocation | None:
    name, _, version = reference.partition("@")
    found = _FILE.fullmatch(file)
    if found is None or not NAME.fullmatch(name) or not NAME.fullmatch(version):
        return None
    return PackLocation(reference, file, found[1])


def base_url(pack: Pack, authority: str) -> str:
    """Return the URL below which a daemon has the layers of a pack."""
    return f"http://{authority}{PATH}{pack.reference}"


def document_of(pack: Pack, base: str) -> dict[str, Any]:
    """Return what a pack adds, as `wave.containerConfigUrl` takes it; `base` is the URL below which its layers are.

    Nextflow reads no other members, and of a layer none that says for which architecture it is.
    """
    return {
        "entrypoint": list(pack.entrypoint) or None,
        "cmd": None,
        "env": list(pack.env) or None,
        "workingDir": None,
        "layers": [
            {
                "location": f"{base}/{file_of(each.layer)}",
                "gzipDigest": each.layer.digest,
                "gzipSize": each.layer.size,
                "tarDigest": each.layer.diff_id,
            }
            for each in pack.layers
        ],
    }
