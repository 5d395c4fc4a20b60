"""The site's codec for SIF files: the rule that has them compressed by it."""

from __future__ import annotations

from wavelet.config import Apply, Settings
from wavelet.plan.node import Node


class SiteCodec:
    """A rule of the site for what is asked (`wavelet.requests.request.Rewrite`)."""

    def __init__(self, settings: Settings) -> None:
        self.configure(settings)()

    def __call__(self, plan: Node) -> Node:
        """Return the plan with the site's codec."""
        return plan.compressed_by(self._codec)

    def configure(self, settings: Settings) -> Apply:
        """See `Configurable`."""

        def apply() -> None:
            self._codec = settings.sif.codec

        return apply
