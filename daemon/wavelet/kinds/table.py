"""The table of kinds: a new kind is a room beside these, and a line here.

Whoever builds a daemon is handed the table, so that one with more kinds is another table and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from wavelet.config import Settings
from wavelet.kinds.augment.kind import AugmentedImages
from wavelet.kinds.augment.node import AugmentedImage
from wavelet.kinds.conda.kind import (
    CondaEnvironments,
    LibcsOf,
    LockedEnvironments,
    PackageLayers,
    ScriptsLayers,
    WheelLayers,
)
from wavelet.kinds.conda.model.node import (
    CondaEnvironment,
    LibcOf,
    LockedEnvironment,
    PackageLayer,
    ScriptsLayer,
    WheelLayer,
)
from wavelet.kinds.conda.solve.pinner import CondaPinner
from wavelet.kinds.frozen.kind import FrozenImages
from wavelet.kinds.frozen.node import FrozenImage
from wavelet.kinds.index.kind import ImageIndexes
from wavelet.kinds.index.node import ImageIndex
from wavelet.kinds.kind import Kind, Kinds
from wavelet.kinds.mirrored.kind import MirroredImages
from wavelet.kinds.mirrored.node import MirroredImage
from wavelet.kinds.registry_image.kind import OwnImages, Pinner, RegistryImages
from wavelet.kinds.registry_image.node import RegistryImage
from wavelet.kinds.sif.kind import SifImages
from wavelet.kinds.sif.node import SifImage
from wavelet.kinds.sif.published.files import PublishedFiles
from wavelet.kinds.sif.published.kind import PublishedSifs
from wavelet.kinds.sif.published.node import PublishedSif
from wavelet.kinds.sif.segments.kind import LayerSegments
from wavelet.kinds.sif.segments.node import LayerSegment
from wavelet.plan.canonical import Forms
from wavelet.plan.node import Node


@dataclass(frozen=True, slots=True)
class KindServices:
    """What kinds are built with: the settings, what knows tags, locks, channels and files, and the images hosted here.

    Attributes:
        is_open: tells whether everybody may have what is at a channel's or an index's URL.
    """

    settings: Settings
    tags: Pinner
    solves: CondaPinner
    is_open: Callable[[str], bool]
    published: PublishedFiles
    own: OwnImages | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """A type of nodes, and how their kind is built."""

    node: type[Node]
    build: Callable[[KindServices], Kind[Any]]


Table = Sequence[Row]

KINDS: Table = (
    Row(RegistryImage, lambda services: RegistryImages(services.tags, services.settings, services.own)),
    Row(AugmentedImage, lambda _: AugmentedImages()),
    Row(ImageIndex, lambda _: ImageIndexes()),
    Row(FrozenImage, lambda _: FrozenImages()),
    Row(MirroredImage, lambda _: MirroredImages()),
    Row(SifImage, lambda _: SifImages()),
    Row(CondaEnvironment, lambda services: CondaEnvironments(services.solves)),
    Row(LockedEnvironment, lambda services: LockedEnvironments(services.solves)),
    Row(PackageLayer, lambda services: PackageLayers(services.settings, services.is_open)),
    Row(WheelLayer, lambda services: WheelLayers(services.settings, services.is_open)),
    Row(ScriptsLayer, lambda services: ScriptsLayers(services.settings)),
    Row(LibcOf, lambda _: LibcsOf()),
    Row(PublishedSif, lambda services: PublishedSifs(services.published)),
    Row(LayerSegment, lambda _: LayerSegments()),
)


def forms_of(table: Iterable[Row]) -> Forms:
    """Return the forms of the nodes of a table."""
    return Forms(row.node for row in table)


def build_kinds(table: Iterable[Row], services: KindServices) -> Kinds:
    """Return the kinds of a table."""
    return Kinds(row.build(services) for row in table)


FORMS = forms_of(KINDS)
"""The forms of all kinds that wavelet comes with."""
