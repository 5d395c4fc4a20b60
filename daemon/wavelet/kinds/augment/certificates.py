"""The certificates of a site, merged with those that an image trusts already, as one more layer on top.

A layer that has files in `certificate_paths.DIRECTORY` asks for it. The image's own bundles and Java stores are looked
for in its layers, and each is written again at its own path with the site's certificates added, so that programs that
know no other place find them; beside the site's files there are a bundle and a store, to which variables lead the rest.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from wavelet.image.augment import AddedLayer
from wavelet.image.certificate_paths import BUNDLE, JAVA_STORE
from wavelet.image.image import Content, Descriptor, Family
from wavelet.kinds.augment.image_below import Found, search
from wavelet.kinds.augment.layer_members import PATH_LIMIT
from wavelet.kinds.augment.marks import Marks
from wavelet.kinds.augment.merging import STORE_LIMIT, SiteFiles, Store, merge
from wavelet.kinds.kind import Work

BUNDLES = (
    "etc/ssl/certs/ca-certificates.crt",  # Debian, Alpine, and distroless images of them
    "etc/ssl/cert.pem",
    "etc/pki/tls/certs/ca-bundle.crt",  # Red Hat: a link to the next but one
    "etc/pki/tls/cert.pem",
    "etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "etc/ssl/ca-bundle.pem",  # SUSE: a link to the next one
    "var/lib/ca-certificates/ca-bundle.pem",
    "opt/conda/ssl/cacert.pem",
)
"""Where distributions have their bundles; the first one that an image has is what it trusts."""

JAVA_STORES = (
    "etc/ssl/certs/java/cacerts",
    "etc/pki/java/cacerts",
    "etc/pki/ca-trust/extracted/java/cacerts",
    "var/lib/ca-certificates/java-cacerts",
)
"""Where distributions have the store of their Java."""

_BUNDLE_VARIABLES = ("SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "NIX_SSL_CERT_FILE")
_CONDA, _JAVA = "/ssl/cacert.pem", "/lib/security/cacerts"
_JAVA_OPTIONS, _TRUST_STORE = "JAVA_TOOL_OPTIONS", "-Djavax.net.ssl.trustStore="

STORES_LIMIT = 16
"""Bundles and stores of one image that are written again."""

_ROOM = 64 * 1024


@dataclass(frozen=True, slots=True)
class Candidates:
    """Where an image may have bundles and Java stores, the most telling ones first."""

    bundles: tuple[str, ...]
    java: tuple[str, ...]


def candidates(env: Mapping[str, str]) -> Candidates:
    """Return where to look in an image with these variables. Pure."""
    said = filter(None, (_path(env.get(name, "")) for name in _BUNDLE_VARIABLES))
    home = _path(env.get("JAVA_HOME", ""))
    java = [f"{home}{jre}{_JAVA}" for jre in ("", "/jre")] if home else []
    return Candidates(tuple(dict.fromkeys((*said, *BUNDLES))), tuple(dict.fromkeys((*java, *JAVA_STORES))))


def _path(value: str) -> str:
    """Return an absolute path that an image's variable has, relative to the root; empty: it has none to look at."""
    is_path = value.startswith("/") and len(value) <= PATH_LIMIT
    return posixpath.normpath(value).strip("/") if is_path else ""


def java_options(own: str, asked: str) -> str:
    """Return `JAVA_TOOL_OPTIONS`: what the image says, what is asked for, and the store where neither names one."""
    said = " ".join(dict.fromkeys(each.strip() for each in (own, asked) if each.strip()))
    return said if _TRUST_STORE in said else f"{said} {_TRUST_STORE}/{JAVA_STORE}".strip()


def java_variable(env: Mapping[str, str], asked: Mapping[str, str]) -> str:
    """Return the variable for Java of an image with the variables `env` to which those of `asked` are added."""
    return f"{_JAVA_OPTIONS}={java_options(env.get(_JAVA_OPTIONS, ''), asked.get(_JAVA_OPTIONS, ''))}"


async def merged(
    base: Sequence[Content], added: Sequence[tuple[Content, Marks]], env: Mapping[str, str], work: Work
) -> tuple[AddedLayer, Content]:
    """Return the layer with merged certificates, for an image with layers `base` (the lowest first) and variables.

    Args:
        base: the image's layers, the lowest first.
        added: the layers that have the site's certificates, in their order.
        env: the image's variables.
        work: what a maker may do.

    Raises:
        UpstreamBroken: a layer below cannot be read.
        InvalidRequest: a file of the site's is not certificates.
    """
    places = candidates(env)
    found = await search(base, work, (*places.bundles, *places.java), endings=(_CONDA, _JAVA))
    stores = await _stores(found, places, base, work)
    site = [
        SiteFiles(
            await work.path(content), str(content.descriptor.digest), tuple(path for path, _ in marks.certificates)
        )
        for content, marks in added
    ]
    sizes = sum(size for _, marks in added for _, size in marks.certificates)
    room = (sizes + _ROOM) * (len(stores) + 2) + 3 * sum(store.size for store in stores)
    async with work.scratch(room) as scratch:
        done = await work.run(merge, scratch / "layer", site, stores, (BUNDLE, JAVA_STORE))
        content = await work.adopt(scratch / "layer", Descriptor(Family.OCI.layer(), done.digest, done.size))
    for line in done.lines:
        work.report(line)
    return AddedLayer(done.digest, done.size, done.diff_id), content


async def _stores(found: Mapping[str, Found], places: Candidates, base: Sequence[Content], work: Work) -> list[Store]:
    """Return the files that were found, each once, in the order in which they count."""
    elsewhere = sorted(found.keys() - {*places.bundles, *places.java})
    paths = (*places.bundles, *places.java, *elsewhere)
    stores: dict[str, Store] = {}
    for path in paths:
        one = found.get(path)
        if one is None or not one.entry.is_file or one.path in stores or len(stores) == STORES_LIMIT:
            continue
        layer = base[len(base) - 1 - one.layer]
        is_java = path in places.java or f"/{path}".endswith(_JAVA)
        size = min(one.entry.size or STORE_LIMIT, STORE_LIMIT)
        name = str(layer.descriptor.digest)
        stores[one.path] = Store(await work.path(layer), name, one.entry.stored_at, one.path, is_java, size)
    return list(stores.values())
