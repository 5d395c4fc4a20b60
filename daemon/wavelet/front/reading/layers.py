"""The layers of a request: from what it says of them to plan values and inline bytes. Pure.

A location is a URL, or the bytes themselves: `data:` with base64 of the compressed layer (bare, as nf-wave writes it,
or with media type and `;base64,`), `gzip:` with base64 of the same once more deflated by zlib (the name is Wave's).
Inline bytes are compared with `gzipDigest` and `gzipSize` here; `tarDigest` is compared by who inflates them.
"""

from __future__ import annotations

import binascii
import re
import zlib
from collections.abc import Sequence
from urllib.parse import urlsplit

from wavelet.errors import DigestMismatch, InvalidRequest, TooLarge
from wavelet.front.reading.values import LayerValues
from wavelet.image.augment import LAYER_LIMIT
from wavelet.image.digest import Digest
from wavelet.image.platform import Platform
from wavelet.plan.layers import INLINE, Layer
from wavelet.sizes import size as size_of

LOCATION_LIMIT = 14_000_000
"""Characters of a layer's location, as in Wave."""

URL_LIMIT = 8192
"""Characters of a location that is a URL: it goes into the request's record, which is to stay small."""

INLINE_LIMIT = 64 * 1024 * 1024
"""Bytes of all inline layers of a request together, inflated from `gzip:` where they come so."""

_SIZE = re.compile(r"[0-9]{1,19}")
_FUSION = re.compile(r"fusion-(\w+)\.tar\.gz")
_FORMS = "http://…, https://…, data:<base64> and gzip:<base64> are read"


def read_layers(values: Sequence[LayerValues], field: str) -> tuple[tuple[Layer, ...], dict[Digest, bytes]]:
    """Return the layers in their order, and the bytes of those that are inline.

    Raises:
        InvalidRequest: a member is missing or malformed; it is named.
        DigestMismatch: inline bytes are not what `gzipDigest` or `gzipSize` says.
        TooLarge: a location, or all inline bytes together.
    """
    if len(values) > LAYER_LIMIT:
        raise InvalidRequest(f"{field}: {len(values)} layers; engines mount {LAYER_LIMIT} at most", field=field)
    inline: dict[Digest, bytes] = {}
    layers = []
    room = INLINE_LIMIT
    for index, each in enumerate(values):
        layer, data = _read_layer(each, f"{field}[{index}]", room)
        layers.append(layer)
        if data is not None:
            room -= len(data)
            inline[layer.digest] = data
    return tuple(layers), inline


def _read_layer(layer: LayerValues, field: str, room: int) -> tuple[Layer, bytes | None]:
    at = f"{field}.location"
    length = len(layer.location) or _characters(layer.data)
    if not length:
        raise InvalidRequest(f"{at}: is missing; {_FORMS}", field=at)
    if length > LOCATION_LIMIT:
        message = f"{at}: {length} characters; {LOCATION_LIMIT} are accepted"
        raise TooLarge(f"{message}, so put the layer on a web server and name its URL", field=at)
    digest = _sha256(layer.gzip_digest, f"{field}.gzipDigest", "the digest of the compressed layer")
    diff_id = _sha256(layer.tar_digest, f"{field}.tarDigest", "the digest of the uncompressed layer")
    size = _size(layer.gzip_size, f"{field}.gzipSize")
    scheme, colon, rest = layer.location.partition(":")
    scheme = scheme.lower() if colon else ""
    if scheme in ("http", "https"):
        url = f"{scheme}:{rest}"
        return Layer(digest, size, diff_id, url, _architecture(_url_path(url, at))), None
    data = layer.data or _inline(scheme, rest, at, room)
    if len(data) > room:
        raise _too_much(at)
    _compare(data, digest, size, field)
    return Layer(digest, len(data), diff_id, INLINE), data


def _inline(scheme: str, text: str, field: str, room: int) -> bytes:
    match scheme:
        case "data":
            return _data(text, field)
        case "gzip":
            return _inflate(_base64(text, field), field, room)
        case "docker":
            message = f"{field}: layers of other images are not named one by one; name the image in containerIncludes"
            raise InvalidRequest(message, field=field)
        case _:
            raise InvalidRequest(f"{field}: its scheme is not known; {_FORMS}", field=field)


def _compare(data: bytes, digest: Digest, size: int | None, field: str) -> None:
    if size not in (None, len(data)):
        message = f"{field}.gzipSize: the layer in location has {len(data)} bytes, not {size}; one of the two is wrong"
        raise DigestMismatch(message, field=f"{field}.gzipSize")
    actual = Digest.of(data)
    if actual != digest:
        message = (
            f"{field}.gzipDigest: the layer in location has the digest {actual}, not {digest}; one of the two is wrong"
        )
        raise DigestMismatch(message, field=f"{field}.gzipDigest")


def _characters(data: bytes) -> int:
    """Return the length of the location that is these bytes, `data:<base64>`."""
    return len("data:") + 4 * -(-len(data) // 3) if data else 0


def _sha256(text: str, field: str, what: str) -> Digest:
    if not text:
        raise InvalidRequest(f"{field}: is missing; it is {what}, sha256:<64 hexadecimal digits>", field=field)
    digest = Digest.parse(text, field)
    if digest.algorithm != "sha256":
        raise InvalidRequest(f"{field}: layers have sha256 digests, not {digest.algorithm}", field=field)
    return digest


def _size(value: int | str | None, field: str) -> int | None:
    if value is None or value == "":
        return None
    text = str(value)
    if _SIZE.fullmatch(text) is None:
        raise InvalidRequest(f"{field}: {text[:40]!r} is not a number of bytes", field=field)
    return int(text)


def _url_path(location: str, field: str) -> str:
    """Return the path of a URL that can be asked for."""
    if len(location) > URL_LIMIT:
        raise TooLarge(f"{field}: a URL of {len(location)} characters; {URL_LIMIT} are accepted", field=field)
    try:
        parts = urlsplit(location)
        broken = not parts.hostname or parts.port == 0 or any(c <= " " or c == "\x7f" for c in location)
    except ValueError:
        broken = True
    if broken:
        raise InvalidRequest(
            f"{field}: {location[:80]!r} is not a URL; it takes http(s)://HOST[:PORT]/PATH", field=field
        )
    if parts.username is not None or parts.password is not None:
        message = f"{field}: leave user name and password out of the URL; requests are kept, and a secret must not be"
        raise InvalidRequest(message, field=field)
    return parts.path


def _architecture(path: str) -> str | None:
    """Return the one architecture that a layer is for: Fusion's launchers carry it in their file's name."""
    found = _FUSION.fullmatch(path.rpartition("/")[2])
    if found is None:
        return None
    try:
        return Platform.parse(found[1]).architecture
    except InvalidRequest:
        return None


def _data(text: str, field: str) -> bytes:
    head, comma, payload = text.partition(",")
    if not comma:
        return _base64(text, field)
    if not head.lower().endswith(";base64"):
        raise InvalidRequest(
            f"{field}: a data: location holds base64, data:<base64> or data:…;base64,<base64>", field=field
        )
    return _base64(payload, field)


def _base64(text: str, field: str) -> bytes:
    digits = text.rstrip("=")
    try:
        return binascii.a2b_base64(digits + "=" * (-len(digits) % 4), strict_mode=True)
    except ValueError as error:
        raise InvalidRequest(f"{field}: its base64 cannot be decoded: {error}", field=field) from None


def _inflate(data: bytes, field: str, room: int) -> bytes:
    stream = zlib.decompressobj()
    try:
        inflated = stream.decompress(data, room + 1)
    except zlib.error as error:
        raise InvalidRequest(f"{field}: what follows gzip: is not base64 of zlib data: {error}", field=field) from None
    if len(inflated) > room:
        raise _too_much(field)
    if not stream.eof:
        raise InvalidRequest(f"{field}: the zlib data behind gzip: breaks off before its end", field=field)
    return inflated


def _too_much(field: str) -> TooLarge:
    message = f"{field}: the inline layers have more than {size_of(INLINE_LIMIT)} together; put them on a web server"
    return TooLarge(f"{message} and name their URLs", field=field)
