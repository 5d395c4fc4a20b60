"""An OCI image layout in a directory (image-spec, image-layout.md, 1.0): several pulls into one add to it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wavelet import plain_files
from wavelet.cli.pull.disk import FileError, writing
from wavelet.cli.pull.download import Report
from wavelet.cli.pull.registry_image import RegistryImage, part_of
from wavelet.errors import InvalidRequest
from wavelet.foreign_json import ForeignJsonError, decode
from wavelet.image.image import (
    DOCKER_CONFIG,
    DOCKER_LAYER,
    DOCKER_MANIFEST,
    OCI_CONFIG,
    OCI_INDEX,
    OCI_MANIFEST,
    Descriptor,
    Family,
)
from wavelet.image.reference import Digest

REF_NAME = "org.opencontainers.image.ref.name"
IMAGE_NAME = "io.containerd.image.name"
"""Annotations of what the layout lists: by which name it is there, and what it was pulled as."""

LOCK_LIMIT = 30.0
"""Seconds for which another command may write the index."""
_PAUSE = 0.05

_MARK, _INDEX = "oci-layout", "index.json"
_VERSION = {"imageLayoutVersion": "1.0.0"}
_INDEX_LIMIT = 64 << 20
_BLOCK = 1024 * 1024


class OciLayout:
    """A layout. Threads may add to it at the same time, and other commands too."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._blobs: defaultdict[Digest, threading.Lock] = defaultdict(threading.Lock)
        self._lock = threading.Lock()

    def prepare(self) -> None:
        """Make the layout, unless it is there.

        Raises:
            InvalidRequest: something else is there.
            FileError: it cannot be made.
        """
        mark = self._path / _MARK
        with writing(self._path):
            self._path.mkdir(parents=True, exist_ok=True)
            if not mark.exists():
                if any(self._path.iterdir()):
                    raise InvalidRequest(f"--oci: {self._path} has other files in it, and is no OCI layout")
                mark.write_text(json.dumps(_VERSION), "utf-8")
        self._listed()

    def add(self, image: RegistryImage, report: Report) -> tuple[str, Digest]:
        """Take an image in, and return the name under which it is listed, and its digest here.

        Raises:
            WaveletError: why it is not there; what has come of it stays for the next try.
        """
        before = 0
        for blob in image.manifest.descriptors:
            with self._blobs[blob.digest]:
                self._take(image, blob, part_of(report, before, image.size))
            before += blob.size
        data = as_oci(image.data) if image.manifest.media_type == DOCKER_MANIFEST else image.data
        digest = Digest.of(data)
        target = self._place(digest)
        with self._locked(), writing(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            _replace(target, data)
            entry = {"mediaType": _media_type(data), "digest": str(digest), "size": len(data)}
            return self._list(entry, str(image.name), image.name.tag), digest

    def _take(self, image: RegistryImage, blob: Descriptor, report: Report) -> None:
        target = self._place(blob.digest)
        with writing(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            if _has(target, blob):
                return
        image.fetch(blob, target, report)
        target.chmod(0o666 & target.stat().st_mode)

    def _place(self, digest: Digest) -> Path:
        return self._path / "blobs" / digest.algorithm / digest.hex

    def _list(self, entry: dict[str, Any], name: str, tag: str) -> str:
        """Write an image into the index: under its tag, or its whole name where another image has that tag."""
        index = self._listed()
        others = [each for each in index["manifests"] if _annotations(each).get(IMAGE_NAME) != name]
        taken = {_annotations(each).get(REF_NAME) for each in others}
        reference = tag if tag and tag not in taken else name
        entry["annotations"] = {REF_NAME: reference, IMAGE_NAME: name}
        index["manifests"] = [*others, entry]
        _replace(self._path / _INDEX, json.dumps(index, indent=2).encode() + b"\n")
        return reference

    def _listed(self) -> dict[str, Any]:
        """Return the index.

        Raises:
            InvalidRequest: it cannot be read.
        """
        try:
            version = decode(plain_files.read(self._path / _MARK, _INDEX_LIMIT)[0], dict[str, Any])
            if version != _VERSION:
                raise InvalidRequest(f"--oci: {self._path} is an OCI layout of another version: {version}")
            data, _ = plain_files.read(self._path / _INDEX, _INDEX_LIMIT)
            index = decode(data, dict[str, Any])
        except FileNotFoundError:
            return {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}
        except (OSError, ForeignJsonError) as error:
            raise InvalidRequest(f"--oci: the OCI layout {self._path} cannot be read: {error}") from None
        if not isinstance(index.get("manifests"), list):
            raise InvalidRequest(f"--oci: {self._path / _INDEX} has no list `manifests`")
        return index

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Let nobody else write the index meanwhile, where the file system has locks."""
        end = time.monotonic() + LOCK_LIMIT
        with self._lock, (self._path / _MARK).open("rb+") as mark:
            while True:
                try:
                    fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    if time.monotonic() > end:
                        raise FileError(f"{self._path} is being written by another command; ask again") from None
                    time.sleep(_PAUSE)
                    continue
                except OSError:
                    pass  # without locks two commands may list one image less; its blobs are there
                break
            yield


def as_oci(manifest: bytes) -> bytes:
    """Return a Docker manifest with OCI's media types, as layouts have them; its blobs are the same."""
    document = json.loads(manifest)
    document["mediaType"] = OCI_MANIFEST
    for each in (document.get("config") or {}, *(document.get("layers") or ())):
        kind = each.get("mediaType") or ""
        if kind == DOCKER_CONFIG:
            each["mediaType"] = OCI_CONFIG
        elif kind.startswith(DOCKER_LAYER):
            each["mediaType"] = Family.OCI.layer(kind)
    return json.dumps(document, separators=(",", ":")).encode()


def _media_type(manifest: bytes) -> str:
    return str(json.loads(manifest).get("mediaType", OCI_MANIFEST))


def _annotations(entry: Any) -> dict[str, Any]:
    found = entry.get("annotations") if isinstance(entry, dict) else None
    return found if isinstance(found, dict) else {}


def _replace(target: Path, data: bytes) -> None:
    fresh = target.with_name(f"{target.name}.new")
    fresh.write_bytes(data)
    fresh.replace(target)


def _has(target: Path, blob: Descriptor) -> bool:
    """Tell whether a blob is there, whole."""
    if not target.is_file() or target.stat().st_size != blob.size:
        return False
    hasher = blob.digest.hasher()
    with target.open("rb") as file:
        while block := file.read(_BLOCK):
            hasher.update(block)
    return blob.digest.matches(hasher)
