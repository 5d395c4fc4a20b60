"""The parts of an environment, realised: a layer and its document for every package and wheel."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from wavelet.concurrency import gather_all
from wavelet.errors import InvalidRequest
from wavelet.image.image import Content, Image
from wavelet.kinds.conda.compose.layering import Node, Paths, topological
from wavelet.kinds.conda.link.layer_info import LayerInfo
from wavelet.kinds.conda.model.node import LockedEnvironment, PackageLayer, ScriptsLayer, WheelLayer
from wavelet.kinds.conda.model.packages import Package, Wheel
from wavelet.kinds.kind import Work

AT_ONCE = 16
"""Parts of one environment that are realised side by side; workers bound how many of them are made."""


@dataclass(frozen=True)
class Part:
    """A package or wheel (nothing for what scripts have changed), and its layer."""

    of: Package | Wheel | None
    info: LayerInfo
    layer: Content

    @cached_property
    def node(self) -> Node:
        """The part as ordering sees it."""
        index = self.info.index
        name = str(index.get("name") or (self.of.name if self.of else "")).lower()
        depends = tuple(map(str, index.get("depends") or ()))
        return Node(name, depends, bool(index.get("noarch")), self.info.fragment.inflated)

    @cached_property
    def paths(self) -> Paths:
        """The part as grouping sees it."""
        info = self.info
        return Paths(frozenset([*info.files, *info.links]), frozenset(info.directories), info.fragment.inflated)

    @property
    def has_paths(self) -> bool:
        """Whether there is anything in its layer; packages that only depend on others have nothing."""
        return bool(self.info.files or self.info.links or any(self.info.directories))

    @property
    def title(self) -> str:
        """The part as people read it: name, version and build."""
        return (
            ""
            if self.of is None
            else " ".join(filter(None, (self.of.name, self.of.version, getattr(self.of, "build", ""))))
        )


@dataclass(frozen=True)
class Python:
    """The Python of an environment: minor version, and where it looks for modules, relative to the prefix."""

    version: str
    site_packages: str


async def packages(plan: LockedEnvironment, work: Work) -> list[Part]:
    """Return the parts of all packages, dependencies before dependents.

    Raises:
        InvalidRequest: a package's name stands there twice.
    """
    python = await python_of(plan, work)
    plans = [PackageLayer(p, *_linked_for(python, p)) for p in plan.packages]
    found = {each.node.name: each for each in await _realise(zip(plan.packages, plans, strict=True), work)}
    if len(found) != len(plan.packages):
        names = [each.name for each in plan.packages]
        twice = ", ".join(sorted({name for name in names if names.count(name) > 1}))
        raise InvalidRequest(f"packages: more than one of {twice}; an environment has one package of a name")
    return [found[name] for name in topological(each.node for each in found.values())]


async def wheels(plan: LockedEnvironment, work: Work) -> list[Part]:
    """Return the parts of all wheels, by name.

    Raises:
        InvalidRequest: there is no Python for them.
    """
    if not plan.wheels:
        return []
    python = await python_of(plan, work)
    if python is None:
        raise InvalidRequest("pip: the environment has no python to install into; add it to the packages", field="pip")
    plans = [WheelLayer(wheel, python.version, python.site_packages) for wheel in plan.wheels]
    return await _realise(zip(plan.wheels, plans, strict=True), work)


async def scripts(plan: LockedEnvironment, having: Sequence[Part], work: Work) -> Part | None:
    """Return what the scripts of packages change, if any of them has such; `having` are all packages' parts."""
    with_scripts = [each for each in having if each.info.scripts]
    if not plan.scripts or not with_scripts:
        return None
    named = {each.node.name: each for each in having}
    needed = _closure([each.node.name for each in with_scripts], named)
    own = tuple(sorted(of for name in needed if isinstance(of := named[name].of, Package)))
    image = LockedEnvironment(own, (), plan.platform, plan.base).without_scripts()
    which = tuple(sorted(each.of for each in with_scripts if isinstance(each.of, Package)))
    return await _part(None, await work.realise(ScriptsLayer(which, image)), work)


async def python_of(plan: LockedEnvironment, work: Work) -> Python | None:
    """Return the Python of an environment, if it has one."""
    package = next((package for package in plan.packages if package.name == "python"), None)
    if package is None:
        return None
    index = (await _part(package, await work.realise(PackageLayer(package)), work)).info.index
    version = ".".join(str(index.get("version") or package.version).split(".")[:2])
    return Python(version, str(index.get("python_site_packages_path") or f"lib/python{version}/site-packages"))


def _linked_for(python: Python | None, package: Package) -> tuple[str, str]:
    if python is None or package.subdir != "noarch":
        return "", ""
    return python.version, python.site_packages


def _closure(names: Iterable[str], named: Mapping[str, Part]) -> set[str]:
    reached: set[str] = set()
    waiting = [*names]
    while waiting:
        name = waiting.pop()
        if name in named and name not in reached:
            reached.add(name)
            waiting += named[name].node.needs
    return reached


async def _realise(wanted: Iterable[tuple[Package | Wheel, PackageLayer | WheelLayer]], work: Work) -> list[Part]:
    places = asyncio.Semaphore(AT_ONCE)

    async def one(of: Package | Wheel, plan: PackageLayer | WheelLayer) -> Part:
        async with places:
            known = work.known(plan)
            part = await _part(of, await work.realise(plan), work)
            if known:
                work.report(f"{of.file_name}: {part.info.size} bytes, cached")
            return part

    return await gather_all(one(of, plan) for of, plan in wanted)


async def _part(of: Package | Wheel | None, image: Image, work: Work) -> Part:
    document = image.closure[image.descriptor.digest]
    info = LayerInfo.decode(await work.read(document))
    return Part(of, info, image.closure[info.descriptor.digest])
