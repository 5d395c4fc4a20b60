"""The layers above the base: packages and wheels alone or several together, what scripts changed, the image's own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from wavelet.gather_all import gather_all
from wavelet.image.digest import Digest
from wavelet.image.image import Content
from wavelet.image.manifest import Descriptor, Family
from wavelet.kinds.conda.compose import activation, conda_meta, group, sbom_components, shared_layer
from wavelet.kinds.conda.compose.common_packages import strata
from wavelet.kinds.conda.compose.image_documents import Environment, Placed
from wavelet.kinds.conda.compose.made_parts import Part
from wavelet.kinds.conda.compose.order import heaviest_first
from wavelet.kinds.conda.model.node import LockedEnvironment
from wavelet.kinds.conda.model.packages import Package, subdir_of
from wavelet.kinds.work import Work

_ROOM = 1024 * 1024
"""Bytes that a layer put together may have beyond its members'."""
_NOTHING: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer in its place, and where its bytes are."""

    placed: Placed
    content: Content


@dataclass(frozen=True, slots=True)
class Parts:
    """All that an image is put together of; packages come dependencies first."""

    packages: Sequence[Part]
    wheels: Sequence[Part]
    scripts: Part | None

    @property
    def environment(self) -> Environment:
        """What they want of the shell; of two that set a variable, the later one does."""
        variables: dict[str, str] = {}
        active: list[str] = []
        for part in (*self.packages, *self.wheels, *filter(None, [self.scripts])):
            variables |= part.info.env_vars
            active += [*part.info.files, *part.info.links] if part.info.has_activation else []
        return Environment(variables, activation.scripts_among(active))


async def stacked(plan: LockedEnvironment, parts: Parts, base_layers: int, work: Work) -> list[Layer]:
    """Return the layers from the bottom up.

    Raises:
        InvalidRequest: the base's layers leave no room.
    """
    others = 1 if parts.scripts is None else 2
    room = group.budget(base_layers, others)
    every = [part for part in (*parts.packages, *parts.wheels) if part.has_paths]
    groups = await asyncio.to_thread(_few if plan.layers == "few" else _group, every, room, others)
    own, *made = await gather_all(
        [_own(plan, parts, work), *(_layer([every[n] for n in each.members], each.lost, work) for each in groups)]
    )
    scripts = parts.scripts
    changed = [] if scripts is None else [_placed(scripts.layer, scripts.info.diff_id, "post-link scripts")]
    return [*made, *changed, own]


def _group(every: Sequence[Part], room: int, _: int) -> list[group.Group]:
    return group.group([part.paths for part in every], _sequence(every), room)


def _few(every: Sequence[Part], room: int, others: int) -> list[group.Group]:
    layers = min(room, group.FEW - others)
    places = strata([part.node for part in every], layers)
    return group.few([part.paths for part in every], _sequence(every), places, layers)


def _sequence(every: Sequence[Part]) -> list[int]:
    """Return packages as they share best, then wheels, the heaviest first."""
    packages = {part.node.name: number for number, part in enumerate(every) if isinstance(part.of, Package)}
    wheels = sorted(set(range(len(every))) - {*packages.values()}, key=lambda number: -every[number].node.weight)
    sequence = [packages[name] for name in heaviest_first([every[number].node for number in packages.values()])]
    return [*sequence, *wheels]


async def _layer(members: Sequence[Part], lost: Sequence[frozenset[str]], work: Work) -> Layer:
    if len(members) == 1:
        part = members[0]
        annotations = {"org.opencontainers.image.title": part.title, "wavelet.purl": sbom_components.purl_of(part)}
        return _placed(part.layer, part.info.diff_id, part.title, annotations)
    content, diff_id = await _shared(members, lost, work)
    titles = ", ".join(part.title for part in members)
    says = f"{len(members)} packages"
    return _placed(
        content, diff_id, f"{says}: {titles}", {"org.opencontainers.image.title": says, "wavelet.contains": titles}
    )


async def _shared(members: Sequence[Part], lost: Sequence[frozenset[str]], work: Work) -> tuple[Content, str]:
    started = time.monotonic()
    gone = lost or [_NOTHING] * len(members)
    pieces = [
        shared_layer.Piece(await work.path(part.layer), part.info.fragment, left_out)
        for part, left_out in zip(members, gone, strict=True)
    ]
    # What one member loses is lost to it alone: its file may have had to make way for another's directory.
    directories = set().union(*(set(part.info.directories) - out for part, out in zip(members, gone, strict=True)))
    room = sum(part.info.size + (part.info.fragment.inflated if lost else 0) for part in members)
    async with work.scratch(room + _ROOM) as scratch:
        target = scratch / "layer"
        put_together = shared_layer.merge if lost else shared_layer.compose
        made: shared_layer.Composed = await work.run(put_together, target, sorted(directories), pieces)
        descriptor = Descriptor(Family.OCI.layer(), made.digest, made.size)
        content = await work.adopt(target, descriptor, derived=True)
    seconds = time.monotonic() - started
    work.report(f"{len(members)} packages in one layer: {made.size} bytes, put together in {seconds:.2f} s")
    return content, made.diff_id


async def _own(plan: LockedEnvironment, parts: Parts, work: Work) -> Layer:
    made = await asyncio.to_thread(_own_layer, plan, parts)
    return _placed(await work.keep(made.blob, Family.OCI.layer()), made.diff_id, conda_meta.DIRECTORY)


def _own_layer(plan: LockedEnvironment, parts: Parts) -> conda_meta.Layer:
    having = [(part.of, part.info) for part in parts.packages if isinstance(part.of, Package)]
    explicit = conda_meta.explicit((package for package, _ in having), subdir_of(plan.platform), plan.wheels).encode()
    history = conda_meta.history(package for package, _ in having)
    scripts = parts.environment.scripts
    own = {conda_meta.HISTORY: history, conda_meta.EXPLICIT: explicit, activation.PROFILE: activation.profile(scripts)}
    return conda_meta.layer(conda_meta.records(having) | own, activation.files(scripts, Digest.of(explicit).hex[:12]))


def _placed(content: Content, diff_id: str, says: str, annotations: Mapping[str, str] | None = None) -> Layer:
    return Layer(Placed(content.descriptor, Digest(diff_id), says, annotations or {}), content)
