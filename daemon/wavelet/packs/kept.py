"""Built packs as a node keeps them: their layers as files by digest, and an index of what they are of. Blocks.

The index is written aside and renamed, and layers are in their place before it names them, so that whatever a crash
leaves is either known or removed. What does not have its digest any more counts as not there.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
import structlog

from wavelet.image.reference import Digest
from wavelet.packs.model import Needs, Pack, PackLayer
from wavelet.plan.node import Layer
from wavelet.store.files import changed_at, make_private, move_into_place

_INDEX = "index.json"
_SUFFIX = ".tar.gz"
_BUILDING = "building-"
_READ_SIZE = 1024 * 1024
_FORM = 2

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class KeptPack:
    """A pack that was built here.

    Attributes:
        directory: what it was built of.
        shipped: whether that came with wavelet.
        fingerprint: what tells whether the directory is still the same.
        left: when it ceased to be what its name means (unix seconds); None: it is that now.
    """

    pack: Pack
    directory: str
    shipped: bool
    fingerprint: str
    left: float | None = None


class _Layer(msgspec.Struct, frozen=True, omit_defaults=True):
    digest: str
    size: int
    diff_id: str
    location: str
    architecture: str | None = None
    paths: list[str] = []


class _Pack(msgspec.Struct, frozen=True, omit_defaults=True):
    name: str
    version: str
    directory: str
    fingerprint: str
    shipped: bool = False
    left: float | None = None
    entrypoint: list[str] = []
    env: list[str] = []
    layers: list[_Layer] = []
    architectures: list[str] = []
    devices: list[str] = []
    capabilities: list[str] = []


class _Index(msgspec.Struct, frozen=True):
    """`digest` is that of `packs` as they are written, so that damage is seen."""

    form: int
    digest: str
    packs: msgspec.Raw


class PackFiles:
    """A directory of layers, with its index."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def path(self, digest: Digest) -> Path:
        """Return where the file of a layer is, if it is here."""
        return self._directory / f"{digest.hex}{_SUFFIX}"

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """Give an empty directory beside the layers; at the end it is gone with what is still in it."""
        make_private(self._directory)
        directory = Path(tempfile.mkdtemp(prefix=_BUILDING, dir=self._directory))
        try:
            yield directory
        finally:
            shutil.rmtree(directory, ignore_errors=True)

    def adopt(self, layers: Iterable[tuple[Path, Digest]]) -> None:
        """Put files into their places, durably."""
        for file, digest in layers:
            move_into_place(file, self.path(digest))

    def write(self, packs: Iterable[KeptPack]) -> None:
        """Write the index, and remove layers of which it knows nothing."""
        kept = [*packs]
        wire = msgspec.json.encode([_wire(each) for each in kept])
        data = msgspec.json.encode(_Index(_FORM, str(Digest.of(wire)), msgspec.Raw(wire)))
        make_private(self._directory)
        aside = self._directory / f"{_INDEX}.new"
        aside.write_bytes(data)
        move_into_place(aside, self._directory / _INDEX)
        self._sweep({self.path(each.layer.digest) for pack in kept for each in pack.pack.layers})

    def read(self) -> list[KeptPack]:
        """Return what is kept and undamaged; what a process that has ended was about to build is removed."""
        found = self._found()
        good: dict[Digest, bool] = {}
        for layer in (each.layer for pack in found for each in pack.pack.layers):
            if layer.digest not in good:
                good[layer.digest] = self._is_good(layer.digest)
        whole = [pack for pack in found if all(good[each.layer.digest] for each in pack.pack.layers)]
        for pack in found:
            if pack not in whole:
                log.warning("a layer of a pack is damaged or gone", pack=pack.pack.reference)
        self._sweep({self.path(each.layer.digest) for pack in whole for each in pack.pack.layers})
        return whole

    def _found(self) -> list[KeptPack]:
        try:
            index = msgspec.json.decode((self._directory / _INDEX).read_bytes(), type=_Index)
            if index.form != _FORM or Digest.of(bytes(index.packs)) != index.digest:
                raise ValueError("it has another form, or is damaged")
            return [_kept(wire) for wire in msgspec.json.decode(index.packs, type=list[_Pack])]
        except FileNotFoundError:
            return []
        except (OSError, ValueError) as error:  # also what is no JSON
            log.warning("the index of packs cannot be read; they are built anew", because=str(error))
            return []

    def is_there(self, digest: Digest, size: int) -> bool:
        """Tell whether there is a file of that size for a layer."""
        return changed_at(self.path(digest), size) is not None

    def _is_good(self, digest: Digest) -> bool:
        hasher = hashlib.sha256()
        try:
            with self.path(digest).open("rb") as file:
                while data := file.read(_READ_SIZE):
                    hasher.update(data)
        except OSError:
            return False
        return hasher.hexdigest() == digest.hex

    def _sweep(self, stay: Collection[Path]) -> None:
        try:
            for path in self._directory.iterdir():
                if path.name.startswith(_BUILDING):
                    shutil.rmtree(path, ignore_errors=True)
                elif path.name != _INDEX and path not in stay and not path.is_dir():
                    path.unlink(missing_ok=True)
        except FileNotFoundError:
            pass
        except OSError as error:
            log.warning("layers of packs that are no longer needed cannot be removed", because=str(error))


def _wire(kept: KeptPack) -> _Pack:
    pack = kept.pack
    return _Pack(
        pack.name,
        pack.version,
        kept.directory,
        kept.fingerprint,
        kept.shipped,
        kept.left,
        list(pack.entrypoint),
        list(pack.env),
        [_wire_layer(each) for each in pack.layers],
        sorted(pack.architectures),
        list(pack.needs.devices),
        list(pack.needs.capabilities),
    )


def _wire_layer(each: PackLayer) -> _Layer:
    layer = each.layer
    assert layer.size is not None, "it was built here"
    return _Layer(
        str(layer.digest), layer.size, str(layer.diff_id), layer.location, layer.architecture, sorted(each.paths)
    )


def _kept(wire: _Pack) -> KeptPack:
    pack = Pack(
        wire.name,
        wire.version,
        tuple(wire.entrypoint),
        tuple(wire.env),
        tuple(_layer(each) for each in wire.layers),
        frozenset(wire.architectures),
        Needs(tuple(wire.devices), tuple(wire.capabilities)),
    )
    return KeptPack(pack, wire.directory, wire.shipped, wire.fingerprint, wire.left)


def _layer(wire: _Layer) -> PackLayer:
    layer = Layer(Digest(wire.digest), wire.size, Digest(wire.diff_id), wire.location, wire.architecture)
    return PackLayer(layer, frozenset(wire.paths))
