"""The software bill of materials of an image of packages.

CycloneDX 1.6 in JSON: package URLs, hashes, licences and the graph of dependencies are members of their own, which
scanners read; and it needs neither a time nor a namespace, as SPDX 2.3 does, so that the same packages give the same
document for ever. Its serial number is made of its contents.
"""

from __future__ import annotations

import functools
import hashlib
import json
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote, unquote

from wavelet.kinds.conda.compose.layering import name_of
from wavelet.kinds.conda.compose.made_parts import Part
from wavelet.kinds.conda.model.packages import Package, Wheel

MEDIA_TYPE = "application/vnd.cyclonedx+json"
"""The document's media type, and the artifact type of the manifest that attaches it."""


@dataclass(frozen=True, slots=True)
class Component:
    """One package of an image.

    Attributes:
        name: as its ecosystem writes it.
        version: likewise.
        purl: its package URL, unique in an image.
        sha256: of its archive, in hexadecimal.
        licence: as it states it; mostly, but not always, an SPDX expression.
        url: of its archive.
        home: its own page.
        needs: the package URLs of those that it depends on.
    """

    name: str
    version: str
    purl: str
    sha256: str
    licence: str = ""
    url: str = ""
    home: str = ""
    needs: tuple[str, ...] = ()


def conda_purl(name: str, version: str, build: str, channel: str, subdir: str, kind: str) -> str:
    """Return the package URL of a conda package (purl-spec, type `conda`); `kind` is `conda` or `tar.bz2`."""
    qualifiers = {"build": build, "channel": channel, "subdir": subdir, "type": kind}
    return f"pkg:conda/{_part(name)}@{_part(version)}?{_qualifiers(qualifiers)}"


def pypi_purl(name: str, version: str, file_name: str) -> str:
    """Return the package URL of a wheel (purl-spec, type `pypi`: lower case, dashes for underscores)."""
    name = name.lower().replace("_", "-")
    return f"pkg:pypi/{_part(name)}@{_part(version)}?{_qualifiers({'file_name': file_name})}"


def document(components: Iterable[Component]) -> bytes:
    """Return the bill of materials of an image with these packages."""
    ordered = sorted(components, key=lambda each: each.purl)
    body = {
        "components": [_component(each) for each in ordered],
        "dependencies": [{"ref": each.purl, "dependsOn": sorted(each.needs)} for each in ordered],
    }
    digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).digest()
    head = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.UUID(bytes=digest[:16], version=5)}",
        "version": 1,
    }
    return _write(head | body)


def _component(component: Component) -> dict[str, object]:
    references = [("distribution", component.url), ("website", component.home)]
    members: dict[str, object] = {
        "type": "library",
        "bom-ref": component.purl,
        "name": component.name,
        "version": component.version,
        "hashes": [{"alg": "SHA-256", "content": component.sha256}],
        "licenses": [{"license": {"name": component.licence}}] if component.licence else [],
        "purl": component.purl,
        "externalReferences": [{"type": kind, "url": url} for kind, url in references if url],
    }
    return {name: value for name, value in members.items() if value}


def _part(text: str) -> str:
    return quote(text, safe=":")


def _qualifiers(members: dict[str, str]) -> str:
    return "&".join(f"{name}={quote(value, safe=':/')}" for name, value in sorted(members.items()) if value)


def _write(value: dict[str, object] | Sequence[object]) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def purl_of(part: Part) -> str:
    """Return the package URL of a package's or wheel's part."""
    return "" if part.of is None else _purl(part.of)


@functools.lru_cache(maxsize=4096)
def _purl(of: Package | Wheel) -> str:
    if isinstance(of, Wheel):
        name, version, file_name = (unquote(text) for text in (of.name, of.version, of.file_name))
        return pypi_purl(name, version, file_name)
    kind = "conda" if of.file_name.endswith(".conda") else "tar.bz2"
    return conda_purl(of.name, of.version, of.build, of.channel, of.subdir, kind)


def components(packages: Iterable[Part], wheels: Iterable[Part]) -> list[Component]:
    """Return all packages and wheels with what they depend on."""
    conda = {each.node.name: each.of for each in packages if each.of is not None}
    pypi = {_normal(each.of.name): each.of for each in wheels if each.of is not None}
    return [_component_of(each, conda, each.node.needs) for each in packages] + [
        _component_of(each, pypi, _required(each)) for each in wheels
    ]


def _component_of(part: Part, others: Mapping[str, Package | Wheel], needs: Iterable[str]) -> Component:
    of = part.of
    assert of is not None and of.sha256 is not None, "a lock has the hash of everything"
    about, index = part.info.about, part.info.index
    needed = {_purl(others[name]) for name in needs if name in others}
    licence = str(about.get("license") or index.get("license") or "")
    home = str(about.get("home") or "")
    return Component(of.name, of.version, _purl(of), of.sha256, licence, of.url, home, tuple(sorted(needed)))


def _required(part: Part) -> Iterable[str]:
    """Return the names of what a wheel requires without asking for extras (PEP 508)."""
    for requirement in part.info.index.get("requires_dist") or ():
        if "extra ==" not in requirement:
            yield _normal(name_of(requirement.replace("(", " ")))


def _normal(name: str) -> str:
    """Return a distribution's name in its normal form (PEP 503)."""
    return name.lower().replace("_", "-").replace(".", "-")
