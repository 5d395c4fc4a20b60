"""The writer of a layer with merged certificates, from files of layers. Blocks, and is called in a worker."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from wavelet.archive.layer_writer import LayerWriter
from wavelet.archive.tar_format import DIRECTORY_TIME, TarEntries
from wavelet.errors import InvalidRequest
from wavelet.image.reference import Digest
from wavelet.kinds.augment.layer_members import members, relative
from wavelet.kinds.augment.trust import Broken, Trusted, joined, read_java, read_pem, write_java, write_pem

STORE_LIMIT = 4 * 1024 * 1024
"""Bytes of a bundle or store; Debian's bundle has 0.2 MB."""


@dataclass(frozen=True, slots=True)
class SiteFiles:
    """The files of a layer that have certificates of the site: the layer, its name in errors, and their paths."""

    layer: Path
    name: str
    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Store:
    """A bundle or Java store of an image.

    Attributes:
        layer, name: the layer that has it, and how errors call that.
        stored_at: the path of the member with its contents.
        path: where it is in the image, links followed.
        is_java: it is a Java store.
        size: bytes that it has at most.
    """

    layer: Path
    name: str
    stored_at: str
    path: str
    is_java: bool
    size: int


@dataclass(frozen=True, slots=True)
class Merged:
    """The layer that was written, and lines for the log."""

    digest: Digest
    size: int
    diff_id: Digest
    lines: tuple[str, ...]


def merge(target: Path, site: Sequence[SiteFiles], stores: Sequence[Store], own: tuple[str, str]) -> Merged:
    """Write the layer.

    Args:
        target: the file to write.
        site: the site's certificates.
        stores: what the image has, in the order in which it counts.
        own: paths of the bundle and of the Java store that are there whatever the image has.

    Raises:
        InvalidRequest: a file of the site's is not certificates.
        UpstreamBroken: a layer cannot be read.
    """
    added = joined(*(_site(files) for files in site))
    files, lines = merged_files(added, [(store, data) for store, data in _contents(stores)], own)
    with LayerWriter(target, TarEntries(""), ()) as writer:
        for path in sorted(files):
            writer.file(f"/{path}", files[path], DIRECTORY_TIME, executable=False)
        written = writer.finish()
    return Merged(written.digest, written.size, written.diff_id, tuple(lines))


def merged_files(
    added: Sequence[bytes], stores: Iterable[tuple[Store, bytes | None]], own: tuple[str, str]
) -> tuple[dict[str, bytes], list[str]]:
    """Return the files of the layer by path, and lines for the log. Pure.

    Args:
        added: the site's certificates, as DER.
        stores: what the image has, with its bytes; None: it is too large, or not there after all.
        own: as for `merge`.
    """
    files: dict[str, bytes] = {}
    lines: list[str] = []
    bundle: Trusted | None = None
    java: Trusted | None = None
    is_unread = False
    for store, data in stores:
        trusted = _read(store, data, lines)
        is_unread |= trusted is None and not store.is_java
        if trusted is None:
            continue
        certificates = joined(trusted.certificates, added)
        if store.is_java:
            java = java or trusted
            files[store.path] = write_java(certificates, trusted.aliases)
        else:
            bundle = bundle or trusted
            files[store.path] = write_pem(certificates)
        lines.append(f"/{store.path}: {len(certificates) - len(trusted.certificates)} of the site's certificates added")
    if bundle is None:
        has = "none of the image's bundles can be read" if is_unread else "the image has no bundle of certificates"
        lines.append(f"{has}: it trusts the site's alone")
        bundle = Trusted()
    java = java or bundle
    files[own[0]] = write_pem(joined(bundle.certificates, added))
    files[own[1]] = write_java(joined(java.certificates, added), java.aliases)
    return files, lines


def _read(store: Store, data: bytes | None, lines: list[str]) -> Trusted | None:
    if not _is_text(store.path):
        lines.append(f"{store.path!a} is left as it is: its path is not UTF-8")
        return None
    if data is None:
        lines.append(f"/{store.path} is left as it is: it has more than {STORE_LIMIT} bytes, or cannot be read")
        return None
    try:
        trusted = read_java(data) if store.is_java else read_pem(data)
    except Broken as error:
        lines.append(f"/{store.path} is left as it is: {error}")
        return None
    if not trusted.certificates and data.strip():
        lines.append(f"/{store.path} is left as it is: it has no certificate")
        return None
    if trusted.broken:
        lines.append(f"/{store.path}: {trusted.broken} entries are no certificates, and are left out")
    return trusted


def _is_text(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def _site(files: SiteFiles) -> tuple[bytes, ...]:
    contents = _files_of(files.layer, files.name, files.paths)
    return joined(*(_site_file(path, contents.get(path)) for path in files.paths))


def _site_file(path: str, data: bytes | None) -> tuple[bytes, ...]:
    trusted = Trusted() if data is None else read_pem(data)
    if trusted.broken or not trusted.certificates:
        why = f"{trusted.broken} of its entries are no certificates" if trusted.broken else "it has no certificate"
        raise InvalidRequest(f"containerConfig.layers: /{path}: {why}", field="containerConfig.layers")
    return trusted.certificates


def _contents(stores: Sequence[Store]) -> list[tuple[Store, bytes | None]]:
    """Return the stores with their contents; each layer is read once."""
    by_layer: dict[tuple[Path, str], list[str]] = {}
    for store in stores:
        by_layer.setdefault((store.layer, store.name), []).append(store.stored_at)
    read = {layer: _files_of(*layer, paths) for layer, paths in by_layer.items()}
    return [(store, read[store.layer, store.name].get(store.stored_at)) for store in stores]


def _files_of(layer: Path, name: str, paths: Iterable[str]) -> Mapping[str, bytes]:
    """Return the contents of those files of a layer that are not too large."""
    wanted = frozenset(paths)
    found: dict[str, bytes] = {}
    for member in members(layer, name):
        path = relative(member.path)
        if path not in wanted:
            continue
        found.pop(path, None)
        if member.is_file and member.size <= STORE_LIMIT:
            found[path] = b"".join(member.chunks())
    return found
