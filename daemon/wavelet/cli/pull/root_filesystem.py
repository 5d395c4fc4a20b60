"""An image's root file system in a directory: its layers one over the other, as overlay has them.

An ordinary user owns all of it, and has no devices; root has the owners of the image, and no devices either.
"""

from __future__ import annotations

import stat
import uuid
from pathlib import Path

from wavelet import directory_trees
from wavelet.archive.inflated import open_inflated
from wavelet.archive.tar_attributes import Attributes
from wavelet.archive.tar_reader import Bounds, members_of
from wavelet.cli.pull.disk import writing
from wavelet.cli.pull.download import Report
from wavelet.cli.pull.layer_directory import LayerDirectory, apply, at_path, is_directory, kind_of
from wavelet.cli.pull.registry_image import RegistryImage, part_of
from wavelet.errors import InvalidRequest, UpstreamBroken
from wavelet.image.image import Descriptor
from wavelet.kinds.sif.manifest import SIF_LAYER

INFLATED_LIMIT = 64 * 1024**3
"""Bytes that a layer may inflate to, its holes included."""

_IMPLIED = Attributes(0o755, 0, 0, 0, {})
"""Of directories that no layer has an entry of."""


def prepare(directory: Path) -> None:
    """Make a directory, or see that it is empty.

    Raises:
        InvalidRequest: it is not.
        FileError: it cannot be made.
    """
    with writing(directory):
        directory.mkdir(parents=True, exist_ok=True)
        if any(directory.iterdir()):
            raise InvalidRequest(f"--unpack: {directory} has files in it; name an empty directory, or a new one")


def unpack(image: RegistryImage, directory: Path, report: Report) -> None:
    """Unpack an image into an empty directory, which is empty again if that fails.

    Raises:
        InvalidRequest: it is a SIF file.
        WaveletError: why it is not there.
    """
    if any(layer.media_type == SIF_LAYER for layer in image.manifest.layers):
        raise InvalidRequest(f"{image.name} is a SIF file and has no layers to unpack; name the image, or use --sif")
    work = directory / f".{uuid.uuid4().hex}"
    try:
        with writing(work):
            work.mkdir(mode=0o700)
        root = _Root(directory, work)
        before = 0
        for layer in image.manifest.layers:
            blob, stage = work / "blob", work / "layer"
            image.fetch(layer, blob, part_of(report, before, image.size))
            with writing(directory):
                stage.mkdir(mode=0o700)
                root.put(_unpacked(layer, blob, stage, directory), stage)
                directory_trees.remove(stage)
                blob.unlink()
            before += layer.size
        with writing(directory):
            directory_trees.remove(work)
            root.finish()
    except BaseException:
        for each in directory.iterdir():
            directory_trees.remove(each)
        raise


def _unpacked(layer: Descriptor, blob: Path, stage: Path, lower: Path) -> LayerDirectory:
    def broken(why: str) -> UpstreamBroken:
        return UpstreamBroken(f"the layer {layer.digest} cannot be unpacked: {why}")

    found = LayerDirectory(stage, lower)
    with open_inflated(blob) as raw:
        for member in members_of(raw, Bounds(INFLATED_LIMIT, broken)):
            try:
                found.take(member)
            except ValueError as error:
                raise broken(f"{member.path!r}: {error}") from None
    try:
        found.settle()
    except ValueError as error:
        raise broken(str(error)) from None
    return found


class _Root:
    """The layers that are unpacked, merged."""

    def __init__(self, root: Path, work: Path) -> None:
        """Begin in the directory `root`, in which `work` is no part of the image."""
        self._root = root
        self._work = work
        self._attributes: dict[bytes, Attributes] = {}

    def put(self, layer: LayerDirectory, stage: Path) -> None:
        """Put a layer over those that are there: what it hides goes, and what it has is moved here."""
        hidden = set()
        for path in sorted(layer.gone):
            if is_directory(self._root, path):
                hidden.add(path)
            if path and is_directory(self._root, path.rpartition(b"/")[0]):
                directory_trees.remove(at_path(self._root, path))
        for path in layer.opaque:
            if is_directory(self._root, path):
                for each in list(at_path(self._root, path).iterdir()):
                    if each != self._work:
                        directory_trees.remove(each)
        # Looked at before anything is moved, and from the root on. As in SIFs, a directory without an entry of its own
        # is as the one below was, also where that was hidden.
        for path in sorted(layer.directories):
            said = layer.directories[path]
            if said is not None:
                self._attributes[path] = said
            elif path not in hidden and not is_directory(self._root, path):
                self._attributes[path] = _IMPLIED
        self._move(stage)

    def finish(self) -> None:
        """Give directories what is said of them; the root stays as the user has made it."""
        for path in sorted(self._attributes, reverse=True):
            if path and is_directory(self._root, path):
                apply(at_path(self._root, path), self._attributes[path])

    def _move(self, stage: Path) -> None:
        """Move what is in the directory `stage` here: directories that are not there yet with all that is in them."""
        waiting = [(stage, self._root)]
        while waiting:
            source, target = waiting.pop()
            for each in list(source.iterdir()):
                place = target / each.name
                kind = kind_of(place)
                if stat.S_ISDIR(kind) and stat.S_ISDIR(kind_of(each)):
                    waiting.append((each, place))
                    continue
                if kind:
                    directory_trees.remove(place)
                each.rename(place)
