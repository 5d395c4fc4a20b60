"""A pack's directory, built here: what a daemon would make of it, and what it would say against it."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from wavelet.packs.builder import pack_of
from wavelet.packs.building import BuiltLayer, build
from wavelet.packs.directories import FoundPack, certificates_of, find_spec, look_at
from wavelet.packs.model import Pack
from wavelet.packs.spec import ImageSource, LayerSpec, UrlSource


@dataclass(frozen=True, slots=True)
class LocalPack:
    """A pack that was built.

    Attributes:
        pack: without the layers that are fetched.
        layers: their files, of the same order as those of `pack`.
        fetched: what layers are left to the daemon: a sentence each.
        warnings: what a daemon would say against it, or what is probably not meant.
        is_version_open: whether its version is told by what it is made of, part of which is not here.
    """

    pack: Pack
    layers: tuple[BuiltLayer, ...]
    fetched: tuple[str, ...]
    warnings: tuple[str, ...]
    is_version_open: bool = False


@contextlib.contextmanager
def built(directory: Path) -> Iterator[LocalPack]:
    """Build a pack; at the end its files are removed.

    Raises:
        CallerError: it cannot be used, and why.
        OSError: there is no room for it.
    """
    root = directory.absolute()
    spec = find_spec(root)
    found = look_at(root, certificates_of(root.parent))
    spec = found.spec or spec
    with tempfile.TemporaryDirectory(prefix="wavelet-pack-") as into:
        layers = build(root, spec, {}, Path(into))
        pack = pack_of(spec, layers)
        fetched = tuple(sentence for each in spec.layers if (sentence := _fetched(each)))
        is_open = bool(fetched) and spec.version is None
        yield LocalPack(pack, tuple(layers), fetched, tuple(_warnings(found, pack, fetched)), is_open)


def _fetched(layer: LayerSpec) -> str:
    if isinstance(layer.source, ImageSource):
        return f"{layer.place}: {layer.source.reference} is fetched by the daemon"
    if isinstance(layer.source, UrlSource):
        return f"{layer.place}: {layer.source.url} is fetched by the daemon"
    return ""


def _warnings(found: FoundPack, pack: Pack, fetched: tuple[str, ...]) -> Iterator[str]:
    if why := found.problem or found.unused:
        yield why
    if not (pack.layers or pack.env or pack.entrypoint or fetched):
        yield "it adds nothing: neither layers, variables nor an entry point"
    if pack.entrypoint and not fetched and not _has(pack, pack.entrypoint[0]):
        yield f"its entry point {pack.entrypoint[0]} is in none of its layers, so that each image has to have it"


def _has(pack: Pack, program: str) -> bool:
    return any(program.lstrip("/") in layer.paths for layer in pack.layers)
