"""The maker of what post-link scripts change: they are run in the image, and the difference is a layer.

Scripts may do what they like, so this layer is not a function of its plan. The first one that any node has made stands.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from wavelet.engine.limits import Limits
from wavelet.engine.protocol import Engine
from wavelet.errors import EngineFailed, NotServed
from wavelet.image.image import Content, Image
from wavelet.kinds.conda.link.layer_info import MEDIA_TYPE, LayerInfo
from wavelet.kinds.conda.model.parts import ScriptsLayer
from wavelet.kinds.conda.postlink.run import ScriptsRun
from wavelet.kinds.work import Work


async def make(plan: ScriptsLayer, work: Work, engines: Sequence[Engine], limits: Limits | None = None) -> Image:
    """Return the layer and its document (see `info.py`): another node's if there is one, else made by an engine.

    Args:
        plan: what to make.
        work: see there.
        engines: those that may be used, in order; the first one that works is.
        limits: what scripts may take.

    Raises:
        NotServed: there is no engine on this node.
        EngineFailed: there is, but none does its part.
        ScriptFailed: a script fails, wants what it cannot have, or takes more than it may.
        DigestMismatch, NotFound, UpstreamError: what a script downloads cannot be had.
    """
    before = _document(await work.claimed(work.key))
    layer = before and await work.shared(before.descriptor)
    if before and layer:
        work.report("what the post-link scripts change is as another node has made it")
        return await _image(before, layer, work)
    own, layer = await _first_that_works(plan, work, engines, limits or Limits())
    await work.share(await work.path(layer), layer.descriptor.digest)
    first = _document(await work.claim(work.key, own.encode()))
    if first and first != own:
        theirs = await work.shared(first.descriptor)
        if theirs:
            return await _image(first, theirs, work)
        work.report(
            "what the post-link scripts changed when they were run first is nowhere to be had; it was made anew"
        )
    return await _image(own, layer, work)


async def _image(info: LayerInfo, layer: Content, work: Work) -> Image:
    document = await work.keep(info.encode(), MEDIA_TYPE)
    return Image.of(document.descriptor, [document, layer])


def _document(data: bytes | None) -> LayerInfo | None:
    try:
        return None if data is None else LayerInfo.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None  # a later version's; this one makes its own


async def _first_that_works(
    plan: ScriptsLayer, work: Work, engines: Sequence[Engine], limits: Limits
) -> tuple[LayerInfo, Content]:
    names = ", ".join(package.name for package in plan.packages)
    absent, failed = [], []
    for engine in engines:
        if reason := await engine.absence():
            absent.append(f"{engine.name} ({reason})")
            continue
        try:
            return await ScriptsRun(plan, work, engine, limits).layer()
        except EngineFailed as error:
            failed.append(f"{engine.name}: {error.message}")
            work.report(f"{engine.name} cannot run post-link scripts: {error.message}")
    if failed:
        raise EngineFailed(f"the post-link scripts of {names} could not be run. {'; '.join(failed)}")
    what = f"{names}: installation runs post-link scripts, for which this node has no container engine"
    tried = f"tried: {', '.join(absent)}" if absent else "conda.engine is `none`"
    remedies = " or ".join(engine.remedy for engine in engines) or "set conda.engine to another value"
    raise NotServed(f"{what}; {tried}. To have such packages: {remedies}", field="packages")
