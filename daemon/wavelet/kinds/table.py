"""The table of kinds: which nodes there are. A new kind is a room beside these, and a line here."""

from __future__ import annotations

from wavelet.kinds.augment.node import AugmentedImage
from wavelet.kinds.conda.model.environments import CondaEnvironment, LockedEnvironment
from wavelet.kinds.conda.model.parts import LibcOf, PackageLayer, ScriptsLayer, WheelLayer
from wavelet.kinds.index.node import ImageIndex
from wavelet.kinds.registry_image.node import RegistryImage
from wavelet.plan.forms import Forms

NODES = (
    RegistryImage,
    AugmentedImage,
    ImageIndex,
    CondaEnvironment,
    LockedEnvironment,
    PackageLayer,
    WheelLayer,
    ScriptsLayer,
    LibcOf,
)
FORMS = Forms(NODES)
"""The forms of all of them."""
