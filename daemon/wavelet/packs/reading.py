"""The reader of `pack.yaml`: its text becomes a `PackSpec`, or a sentence that says what is wrong and where. Pure."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

from wavelet.bounded_yaml import Value, read_yaml
from wavelet.errors import CallerError
from wavelet.image.augment import ENTRY_CHAIN, LAYER_LIMIT
from wavelet.image.certificate_paths import DIRECTORY, ENVIRONMENT
from wavelet.image.image import merge_env
from wavelet.image.reference import Digest, Platform, Reference
from wavelet.packs.members import (
    environment,
    items,
    mapping,
    path_in_image,
    path_in_pack,
    refused,
    text,
    texts,
)
from wavelet.packs.model import NAME, Needs
from wavelet.packs.spec import (
    CertificatesSource,
    DirectorySource,
    FilesSource,
    ImageSource,
    LayerSpec,
    PackSpec,
    Source,
    TarSource,
    UrlSource,
)

FILE = "pack.yaml"
"""The file of a pack's directory that says what it is."""

SITE = "site"
"""`certificates: {directory: site}`: what lies in the site's directory of certificates, which is not of the pack."""

KEPT = "existing"
"""`keep: existing` of a layer: what is in it gives way to what an image has."""

_KEYS = ("name", "version", "layers", "env", "entrypoint", "needs", "allow", "certificates")
_ALLOWED = ("setuid",)
_MODE = re.compile(r"0?[0-7]{3,4}")
_DEVICE = re.compile(r"/dev/[A-Za-z0-9._/-]+")
_CAPABILITY = re.compile(r"(?:CAP_)?([A-Z][A-Z_]*)")


def read_pack(document: str, place: str, directory: str) -> PackSpec:
    """Return what a `pack.yaml` says.

    Args:
        document: its text.
        place: how messages call it, `packs/trace/pack.yaml`.
        directory: the name of the directory that it lies in, after which the pack is called where it says no name.

    Raises:
        PackRefused: it cannot be used; the message begins with the place of what is wrong.
    """
    try:
        members = mapping(read_yaml(document, place), place, _KEYS)
    except CallerError as error:
        raise refused(place, error.message.removeprefix(f"{place}: ")) from None
    env = environment(members.get("env", {}), f"{place}: env")
    if any(each.startswith(f"{ENTRY_CHAIN}=") for each in env):
        raise refused(f"{place}: env", f"{ENTRY_CHAIN} is set by wavelet: it says what an entry point hands on to")
    certificates = _certificates(members, f"{place}: certificates")
    return PackSpec(
        _name(members.get("name", directory), f"{place}: name"),
        _version(members, f"{place}: version"),
        (*_layers(members.get("layers", []), f"{place}: layers"), *certificates),
        tuple(merge_env(ENVIRONMENT if certificates else (), env)),
        texts(members.get("entrypoint", []), f"{place}: entrypoint"),
        _needs(members.get("needs", {}), f"{place}: needs"),
        _allowed(members.get("allow", []), f"{place}: allow"),
    )


def _name(value: Value, place: str) -> str:
    name = text(value, place)
    if NAME.fullmatch(name) is None:
        raise refused(place, f"{name[:80]!r} is not a name: small letters, digits, and `.`, `_`, `-` between them")
    return name


def _version(members: Mapping[str, Value], place: str) -> str | None:
    return _name(members["version"], place) if "version" in members else None


def _layers(value: Value, place: str) -> tuple[LayerSpec, ...]:
    layers = tuple(_layer(each, at) for at, each in items(value, place))
    if len(layers) > LAYER_LIMIT:
        raise refused(place, f"{len(layers)} layers; engines mount {LAYER_LIMIT} at most")
    return layers


def _layer(value: Value, place: str) -> LayerSpec:
    members = mapping(value, place, {*_OF_ALL, *_SOURCES, *(key for keys in _WITH.values() for key in keys)})
    kinds = [kind for kind in _SOURCES if kind in members]
    if len(kinds) != 1:
        raise refused(place, f"needs one of {', '.join(_SOURCES)}{', not ' + ' and '.join(kinds) if kinds else ''}")
    kind = kinds[0]
    for key in members.keys() - {*_OF_ALL, kind, *_WITH[kind]}:
        raise refused(f"{place}.{key}", f"has no meaning for {kind}")
    source = _SOURCES[kind](members, place)
    if members.get("keep", KEPT) != KEPT:
        raise refused(f"{place}.keep", f"is {KEPT} or left out: whether what an image has stays")
    return LayerSpec(place, source, _architecture(members, f"{place}.architecture"), "keep" in members)


def _architecture(members: Mapping[str, Value], place: str) -> str | None:
    if "architecture" not in members:
        return None
    try:
        return Platform.parse(text(members["architecture"], place).removeprefix("linux/"), place).architecture
    except CallerError as error:
        raise refused(place, error.message.removeprefix(f"{place}: ")) from None


def _directory(members: Mapping[str, Value], place: str) -> Source:
    to = path_in_image(members["to"], f"{place}.to") if "to" in members else ""
    return DirectorySource(path_in_pack(members["directory"], f"{place}.directory"), to)


def _files(members: Mapping[str, Value], place: str) -> Source:
    at = f"{place}.files"
    value = members["files"]
    if not isinstance(value, dict) or not value:
        raise refused(at, "is not a mapping of paths in the image to paths in the pack")
    files = {}
    for target, path in value.items():
        there = path_in_image(target, at)
        if not there or there in files:
            raise refused(at, f"{target!r} is {'there twice' if there else 'no file'}")
        files[there] = path_in_pack(path, f"{at}[{target!r}]")
    return FilesSource(tuple(sorted(files.items())), _mode(members, f"{place}.mode"))


def _mode(members: Mapping[str, Value], place: str) -> int | None:
    if "mode" not in members:
        return None
    mode = text(members["mode"], place)
    if _MODE.fullmatch(mode) is None:
        raise refused(place, f"{mode[:80]!r} is not a mode; 0755 is one")
    return int(mode, 8)


def _tar(members: Mapping[str, Value], place: str) -> Source:
    return TarSource(path_in_pack(members["tar"], f"{place}.tar"))


def _image(members: Mapping[str, Value], place: str) -> Source:
    at = f"{place}.image"
    try:
        reference = Reference.parse(text(members["image"], at), at)
    except CallerError as error:
        raise refused(at, error.message.removeprefix(f"{at}: ")) from None
    if reference.digest is None:
        raise refused(at, "needs a digest, NAME@sha256:…: by a tag each node could get other layers, and keep them")
    return ImageSource(reference)


def _url(members: Mapping[str, Value], place: str) -> Source:
    at = f"{place}.url"
    url = text(members["url"], at)
    if "digest" not in members:
        raise refused(at, "needs digest: sha256:…, the digest of what is there")
    try:
        digest = Digest.parse(text(members["digest"], f"{place}.digest"), f"{place}.digest")
    except CallerError as error:
        raise refused(f"{place}.digest", error.message.removeprefix(f"{place}.digest: ")) from None
    if not _is_url(url):
        raise refused(at, f"{url[:80]!r} is not a URL; it takes http(s)://HOST[:PORT]/PATH, without a login")
    return UrlSource(url, digest)


def _is_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return False
    plain = url.isprintable() and " " not in url and port != 0
    return plain and parts.scheme in ("http", "https") and bool(parts.hostname) and "@" not in parts.netloc


_SOURCES: Mapping[str, Callable[[Mapping[str, Value], str], Source]] = {
    "directory": _directory,
    "files": _files,
    "tar": _tar,
    "image": _image,
    "url": _url,
}
"""What a layer is made of."""
_WITH: Mapping[str, tuple[str, ...]] = {
    "directory": ("to",),
    "files": ("mode",),
    "tar": (),
    "image": (),
    "url": ("digest",),
}
"""Which keys may stand beside it."""
_OF_ALL = ("architecture", "keep")
"""Which keys may stand beside any of them."""


def _certificates(members: Mapping[str, Value], place: str) -> tuple[LayerSpec, ...]:
    """Return the layer with certificates, on top of all others."""
    if "certificates" not in members:
        return ()
    value = members["certificates"]
    if isinstance(value, dict):
        if mapping(value, place, ("directory",)).get("directory") != SITE:
            raise refused(place, f"is a list of files of the pack, or {{directory: {SITE}}}")
        return (LayerSpec(place, CertificatesSource(is_site=True)),)
    files: dict[str, str] = {}
    for number, each in enumerate(texts(value, place)):
        path = path_in_pack(each, f"{place}[{number}]")
        if other := files.get(certificate_path(path)):
            raise refused(f"{place}[{number}]", f"{path} and {other} would be one file /{certificate_path(path)}")
        files[certificate_path(path)] = path
    return (LayerSpec(place, CertificatesSource(tuple(files.values()))),) if files else ()


def certificate_path(path: str) -> str:
    """Return where an image has a file of certificates."""
    return f"{DIRECTORY}/{posixpath.splitext(posixpath.basename(path))[0]}.pem"


def _needs(value: Value, place: str) -> Needs:
    members = mapping(value, place, ("devices", "capabilities"))
    devices = texts(members.get("devices", []), f"{place}.devices")
    for device in devices:
        if _DEVICE.fullmatch(device) is None or ".." in device:
            raise refused(f"{place}.devices", f"{device[:80]!r} is not a device; /dev/fuse is one")
    capabilities = []
    for capability in texts(members.get("capabilities", []), f"{place}.capabilities"):
        found = _CAPABILITY.fullmatch(capability)
        if found is None:
            raise refused(f"{place}.capabilities", f"{capability[:80]!r} is not a capability; SYS_ADMIN is one")
        capabilities.append(found[1])
    return Needs(devices, tuple(capabilities))


def _allowed(value: Value, place: str) -> frozenset[str]:
    allowed = texts(value, place)
    for each in allowed:
        if each not in _ALLOWED:
            raise refused(place, f"{each[:80]!r} is not one of {', '.join(_ALLOWED)}")
    return frozenset(allowed)
