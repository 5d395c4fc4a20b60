"""The image that post-link scripts run in, as container engines take it: the packages on their base."""

from __future__ import annotations

from dataclasses import dataclass

from wavelet.engine.protocol import ImageLayers
from wavelet.errors import UpstreamBroken
from wavelet.image.image import MalformedManifest, Manifest, parse_config
from wavelet.image.reference import Platform
from wavelet.kinds.conda.model.node import LockedEnvironment
from wavelet.kinds.kind import Work, read_document


@dataclass(frozen=True, slots=True)
class LockedImage:
    """The image of a lock, made when an engine asks for it; see `RunImage`."""

    plan: LockedEnvironment
    work: Work
    called: str = "the image that post-link scripts run in"

    @property
    def platform(self) -> Platform:
        """See `RunImage`."""
        return self.plan.platform

    async def reference(self) -> str:
        """Return a name under which engines on this node pull it."""
        return await self.work.pullable(self.plan)

    async def layers(self) -> ImageLayers:
        """Return its base's layers and those above them.

        Raises:
            WaveletError: they cannot be had.
        """
        work = self.work
        base = await work.realise(self.plan.base)
        _, below = await read_document(work, base.closure[base.descriptor.digest])
        image = await work.realise(self.plan)
        _, view = await read_document(work, image.closure[image.descriptor.digest])
        try:
            if not isinstance(view, Manifest) or view.config is None:
                raise MalformedManifest("not an image")
            document, _ = parse_config(await work.read(image.closure[view.config.digest]))
        except MalformedManifest as error:
            raise UpstreamBroken(f"{self.called}: {error}") from None
        count = len(below.layers) if isinstance(below, Manifest) else 0
        layers = [await work.path(image.closure[layer.digest]) for layer in view.layers]
        started_from = {layer.digest: path for layer, path in zip(view.layers[:count], layers[:count], strict=True)}
        if len(started_from) < count:  # a layer that is there twice
            started_from, count = {}, 0
        own = (document.get("config") or {}).get("Env") or []
        return ImageLayers(started_from, layers[count:], dict(entry.split("=", 1) for entry in own if "=" in entry))
