"""Layers of this node's own packs by their URLs: the rule that has them taken from the packs, and not over HTTP.

Nextflow reads a pack's document (`wave.containerConfigUrl`) and sends its layers with the request. The file's name says
for which architecture a layer is, as the document cannot.
"""

from __future__ import annotations

from dataclasses import replace

from wavelet.config import Apply, Settings
from wavelet.hosted.own_registry import called_by
from wavelet.packs.locations import read_url
from wavelet.plan.node import Layer, Node, map_layers


class PackLocations:
    """A rule of the site for what is asked (`wavelet.requests.request.Rewrite`)."""

    def __init__(self, settings: Settings) -> None:
        self.configure(settings)()

    def __call__(self, plan: Node) -> Node:
        """Return the plan with layers of packs located there."""
        return map_layers(plan, self._located)

    def _located(self, layer: Layer) -> Layer:
        found = read_url(layer.location, self._authorities)
        return layer if found is None else replace(layer, location=found.text, architecture=found.architecture)

    def configure(self, settings: Settings) -> Apply:
        """See `Configurable`: by which names this daemon is called."""
        authorities = called_by(settings)

        def apply() -> None:
            self._authorities = authorities

        return apply
