"""The bill of materials of an environment, from what its packages and wheels say of themselves (pure)."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from urllib.parse import unquote

from wavelet.kinds.conda.compose.made_parts import Part
from wavelet.kinds.conda.compose.order import name_of
from wavelet.kinds.conda.compose.sbom import Component, conda_purl, pypi_purl
from wavelet.kinds.conda.model.packages import Package, Wheel


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
    return [_component(each, conda, each.node.needs) for each in packages] + [
        _component(each, pypi, _required(each)) for each in wheels
    ]


def _component(part: Part, others: Mapping[str, Package | Wheel], needs: Iterable[str]) -> Component:
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
