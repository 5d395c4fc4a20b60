"""The maker of what post-link scripts change: they are run in the image, and the difference is a layer.

Scripts may do what they like, so this layer is not a function of its plan: the first one made stands.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from wavelet.engine.architecture import EMULATION, own_platform
from wavelet.engine.limits import Limits
from wavelet.engine.protocol import Engine
from wavelet.errors import EngineFailed, NotServed
from wavelet.image.image import Content, Image
from wavelet.image.reference import Platform
from wavelet.kinds.conda.link.layer_info import MEDIA_TYPE, LayerInfo
from wavelet.kinds.conda.model.node import ScriptsLayer
from wavelet.kinds.conda.postlink.run import ScriptsRun
from wavelet.kinds.kind import Work
from wavelet.kinds.other_architecture import remedy

ASKED_AGAIN = 5.0
"""Seconds after which it is looked again whether another node has run what this one cannot."""


async def make(plan: ScriptsLayer, work: Work, engines: Sequence[Engine], limits: Limits | None = None) -> Image:
    """Return the layer and its document (see `layer_info.py`), made by an engine.

    Args:
        plan: what to make.
        work: see there.
        engines: those that may be used, in order; the first one that works is.
        limits: what scripts may take.

    Raises:
        NotServed: there is no engine on this node, or none for programs of the platform.
        EngineFailed: there is, but none does its part.
        ScriptFailed: a script fails, wants what it cannot have, or takes more than it may.
        DigestMismatch, NotFound, UpstreamError: what a script downloads cannot be had.
    """
    info, layer = await _first_that_works(plan, work, engines, limits or Limits())
    document = await work.keep(info.encode(), MEDIA_TYPE)
    return Image.of(document.descriptor, [document, layer])


async def _first_that_works(
    plan: ScriptsLayer, work: Work, engines: Sequence[Engine], limits: Limits
) -> tuple[LayerInfo, Content]:
    names = ", ".join(package.name for package in plan.packages)
    absent, failed = [], []
    for engine in engines:
        if reason := await engine.absence(plan.image.platform.architecture):
            absent.append(f"{engine.name} ({reason})")
            continue
        try:
            return await ScriptsRun(plan, work, engine, limits).layer()
        except EngineFailed as error:
            failed.append(f"{engine.name}: {error.message}")
            work.report(f"{engine.name} cannot run post-link scripts: {error.message}")
    if failed:
        raise EngineFailed(f"the post-link scripts of {names} could not be run. {'; '.join(failed)}")
    own = own_platform()
    if engines and plan.image.platform != own:
        raise _other_architecture(names, plan.image.platform, own, absent)
    what = f"{names}: installation runs post-link scripts, for which this node has no container engine"
    tried = f"tried: {', '.join(absent)}" if absent else "conda.engine is `none`"
    remedies = " or ".join(engine.remedy for engine in engines) or "set conda.engine to another value"
    raise NotServed(f"{what}; {tried}. To have such packages: {remedies}", field="packages")


def _other_architecture(names: str, wanted: Platform, own: Platform, absent: Sequence[str]) -> NotServed:
    """Return the error of scripts whose programs nothing on this node runs; it stands no longer than it has to."""
    emulation = EMULATION.format(architecture=wanted.architecture)
    error = NotServed(
        f"{names}: installation runs post-link scripts of {wanted}, and nothing on this node, which is {own}, does; "
        f"tried: {', '.join(absent)}. Ask for it once on a node of {wanted} that shares records.directory, whose work "
        f"is taken here then; or have {wanted.architecture} emulated here ({emulation}); or, {remedy(own)}",
        field="packages",
    )
    error.cached_until = time.monotonic() + ASKED_AGAIN
    return error
