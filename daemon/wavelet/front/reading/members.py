"""Members of a container request that have parts of their own: layers and packages. Pure.

A location is a URL, or the bytes themselves: `data:` with base64 of the compressed layer (bare, as nf-wave writes it,
or with media type and `;base64,`), `gzip:` with base64 of the same once more deflated by zlib (the name is Wave's).
Inline bytes are compared with `gzipDigest` and `gzipSize` here; `tarDigest` is compared by who inflates them.

`mambaImage` and `pixiImage` name the tool that installs. None is run here, so they are read over, as Wave itself leaves
nothing of them in the image by its present templates. By the template `conda/micromamba:v1` the image *is* the tool's
with packages added: there another image than micromamba's own is the one under the packages. `baseImage` is that in
the other templates. What clients fill in by themselves (`ubuntu:24.04`, `conda-forge::procps-ng`, micromamba's images)
counts as not chosen, so that a site's settings stand.
"""

from __future__ import annotations

import binascii
import datetime
import re
import zlib
from collections.abc import Sequence
from urllib.parse import urlsplit

from wavelet.errors import DigestMismatch, InvalidRequest, NotServed, TooLarge
from wavelet.front.reading.values import CondaOptsValues, LayerValues, PackagesValues
from wavelet.image.augment import LAYER_LIMIT
from wavelet.image.reference import Digest, Platform, Reference
from wavelet.kinds.conda.locks.foreign import refuse_foreign_name
from wavelet.kinds.conda.model.environment_text import Environment, read_channels, read_entries, read_environment
from wavelet.kinds.conda.model.package_request import PackageRequest
from wavelet.kinds.conda.model.specs import SPEC_LIMIT, normal_spec, without_login
from wavelet.plan.node import INLINE, Layer
from wavelet.quantities import size as size_of

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


ENTRIES_LIMIT = 1000
"""Entries of one request."""

CHANNELS_LIMIT = 100
"""Channels of one request."""

_TEMPLATE_V1 = "conda/micromamba:v1"
_TEMPLATES = (_TEMPLATE_V1, "conda/micromamba:v2", "conda/pixi:v1", "cran/installr:v1")
_SPELLINGS = {re.sub(r"[/:-]", " ", name): name for name in _TEMPLATES}
_MICROMAMBA = re.compile(r"(?:(?:index\.)?docker\.io/)?mambaorg/micromamba(?:[:@].*)?")
_CLIENTS_BASE_IMAGE = "ubuntu:24.04"
_CLIENTS_BASE_PACKAGES = "conda-forge::procps-ng"
_NOT_SERVED = {
    "CRAN": "this version of wavelet makes no images from CRAN; ask for type CONDA and the packages r-<name>",
    "SPACK": "this version of wavelet makes no images from Spack packages; ask for type CONDA",
}
COMMANDS = "this version of wavelet runs no container files, so no commands after the packages; leave them out"
"""Why there is no answer to a request with commands of its own."""


def read_packages(packages: PackagesValues, template: str) -> PackageRequest:
    """Say what a request's packages are. `template` is its `buildTemplate`.

    Raises:
        InvalidRequest: a member is wrong, missing or contradicts another; it is named.
        InvalidName: an image's name breaks the grammar.
        TooLarge: more than any environment has.
        NotServed: the request needs what this version does not have.
    """
    _check_type(packages.type)
    chosen = template_of(template)
    options = packages.conda_opts or CondaOptsValues()
    tool = "condaOpts"
    if chosen is not None and chosen.startswith("conda/pixi") and packages.pixi_opts is not None:
        options, tool = packages.pixi_opts, "pixiOpts"
    if options.commands:
        raise NotServed(f"packages.{tool}.commands: {COMMANDS}", field=f"packages.{tool}.commands")
    if len(packages.channels) > CHANNELS_LIMIT:
        raise TooLarge(f"packages.channels: more than {CHANNELS_LIMIT} channels", field="packages.channels")
    channels = read_channels(list(packages.channels), "packages.channels")
    environment, location = _environment(packages)
    return PackageRequest(
        environment,
        "packages.environment" if packages.environment else "packages.entries",
        channels,
        _base(options, chosen, f"packages.{tool}"),
        base_packages(options.base_packages, f"packages.{tool}.basePackages"),
        location,
        _as_of(packages.as_of, "packages.asOf") if packages.as_of else None,
    )


def _as_of(text: str, field: str) -> str:
    """Return a time in the one form that plans have, in UTC and to the second; of a date its first moment."""
    try:
        when = datetime.datetime.fromisoformat(text)
        when = when if when.tzinfo else when.replace(tzinfo=datetime.UTC)
        return when.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError):
        message = f"{field}: {text[:60]!r} is not a date or a time, 2026-01-31 or 2026-01-31T12:30:00Z"
        raise InvalidRequest(message, field=field) from None


def _check_type(kind: str) -> None:
    if not kind:
        raise InvalidRequest("packages.type: is missing; CONDA is one", field="packages.type")
    if kind in _NOT_SERVED:
        raise NotServed(f"packages.type: {_NOT_SERVED[kind]}", field="packages.type")
    if kind != "CONDA":
        raise InvalidRequest(f"packages.type: {kind[:80]!r} is not one of CONDA, CRAN", field="packages.type")


def template_of(text: str) -> str | None:
    """Return the name of a build template for packages; None where none is asked for.

    Raises:
        InvalidRequest: there is none of that name.
    """
    if not text:
        return None
    found = _SPELLINGS.get(re.sub(r"[/:-]", " ", text))
    if found is None or not found.startswith("conda/"):
        names = ", ".join(name for name in _TEMPLATES if name.startswith("conda/"))
        message = f"buildTemplate: {text[:80]!r} is not one of {names}"
        raise InvalidRequest(message, field="buildTemplate")
    return found


def _environment(packages: PackagesValues) -> tuple[Environment, str]:
    """Return what is asked for, or the location of a lock file that says it."""
    if packages.environment and packages.entries:
        message = "packages.entries: cannot be given together with packages.environment; leave out one of them"
        raise InvalidRequest(message, field="packages.entries")
    if packages.environment:
        return read_environment(packages.environment.read(), "packages.environment"), ""
    if not packages.entries:
        message = "packages.entries: nothing to install; give packages.entries or packages.environment"
        raise InvalidRequest(message, field="packages.entries")
    if len(packages.entries) > ENTRIES_LIMIT:
        raise TooLarge(f"packages.entries: more than {ENTRIES_LIMIT} entries", field="packages.entries")
    return of_entries([(f"packages.entries[{index}]", entry) for index, entry in enumerate(packages.entries)])


def of_entries(entries: list[tuple[str, str]]) -> tuple[Environment, str]:
    """Return what entries ask for, each given with its place; or the location of a lock file that is the only one.

    Raises:
        InvalidRequest: an entry is none, or a lock file is not the only one.
    """
    places = [(field, text.strip()) for field, text in entries if is_lock_file(text.strip())]
    if not places:
        return read_entries(entries), ""
    field, location = places[0]
    if len(entries) > 1:
        message = f"{field}: a lock file says all that is installed; leave out the other entries"
        raise InvalidRequest(message, field=field)
    if len(location) > SPEC_LIMIT or not location.isascii() or not location.isprintable() or " " in location:
        raise InvalidRequest(f"{field}: is not a URL of up to {SPEC_LIMIT} characters", field=field)
    refuse_foreign_name(location, field)
    if without_login(location) != location:
        raise InvalidRequest(f"{field}: the URL carries a login; give one without", field=field)
    return Environment(), location


def is_lock_file(entry: str) -> bool:
    """Tell whether an entry is the URL of a lock file, and not that of a package or a wheel."""
    url = (entry.split() or [""])[0].partition("#")[0]
    return (
        url.startswith(("http://", "https://")) and "::" not in url and not url.endswith((".conda", ".tar.bz2", ".whl"))
    )


def _base(options: CondaOptsValues, template: str | None, field: str) -> Reference | None:
    if template == _TEMPLATE_V1:
        return base_of_tool(options.mamba_image, f"{field}.mambaImage")
    if not options.base_image or options.base_image == _CLIENTS_BASE_IMAGE:
        return None
    return Reference.parse(options.base_image, f"{field}.baseImage")


def base_of_tool(image: str, field: str) -> Reference | None:
    """Return the image that packages are added to where it has to hold the tool; None for one of micromamba's own.

    Raises:
        InvalidName: it is no image's name.
    """
    return None if not image or is_clients_tool(image) else Reference.parse(image, field)


def is_clients_tool(image: str) -> bool:
    """Tell whether an image is micromamba's own, which clients name unasked."""
    return _MICROMAMBA.fullmatch(image) is not None


def base_packages(text: str | None, field: str) -> tuple[str, ...] | None:
    """Return the specs that are added to all others; None where nobody has chosen them.

    Raises:
        InvalidRequest: one is no spec.
    """
    if text is None or text.strip() == _CLIENTS_BASE_PACKAGES:
        return None
    return tuple(sorted({normal_spec(part, field) for part in text.split()}))
