"""Which maker makes which kind of plan."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

from wavelet.config import Settings, parse_size
from wavelet.engine.choice import engines_for
from wavelet.engine.limits import Limits
from wavelet.image.image import Image
from wavelet.kinds.augment import make as augment
from wavelet.kinds.augment.node import AugmentedImage
from wavelet.kinds.conda.compose import image as conda_image
from wavelet.kinds.conda.link import package
from wavelet.kinds.conda.model.environments import LockedEnvironment
from wavelet.kinds.conda.model.parts import LibcOf, PackageLayer, ScriptsLayer, WheelLayer
from wavelet.kinds.conda.pip import wheel
from wavelet.kinds.conda.postlink import scripts
from wavelet.kinds.conda.solve import libc
from wavelet.kinds.index import make as index
from wavelet.kinds.index.node import ImageIndex
from wavelet.kinds.registry_image import make as registry
from wavelet.kinds.registry_image.node import RegistryImage
from wavelet.kinds.work import Work
from wavelet.plan.node import Node

Makers = Mapping[type[Node], Callable[[Any, Work], Awaitable[Image]]]


def makers(settings: Settings) -> Makers:
    """Return all makers, as a site wants them."""
    limit = parse_size(settings.conda.package_limit, "conda.package_limit")
    scripted = settings.conda.scripts
    limits = Limits(
        scripted.processes,
        parse_size(scripted.memory, "conda.scripts.memory"),
        parse_size(scripted.disk, "conda.scripts.disk"),
        scripted.seconds,
    )
    return {
        RegistryImage: partial(registry.make, mislabelled=settings.upstream.mislabelled),
        AugmentedImage: augment.make,
        ImageIndex: index.make,
        LockedEnvironment: conda_image.make,
        PackageLayer: partial(package.make, limit=limit),
        WheelLayer: partial(wheel.make, limit=limit),
        ScriptsLayer: partial(scripts.make, engines=engines_for(settings.conda.engine), limits=limits),
        LibcOf: libc.make,
    }
