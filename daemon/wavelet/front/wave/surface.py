"""The surfaces of Wave's API: the one that names images, and, under `/sif`, the one that answers SIF files.

What is asked for is the same; `wave.endpoint` says which answers a client gets.
"""

from __future__ import annotations

from dataclasses import dataclass

from wavelet.front.reading.container import Submission
from wavelet.plan.tokens import target_name
from wavelet.requests.request import ContainerRequest
from wavelet.requests.sif_answers import SifAnswers


@dataclass(frozen=True, slots=True)
class Surface:
    """Names of images.

    Attributes:
        authority: host and port in names.
        prefix: what the paths of its routes begin with.
        sifs: tells where SIF files are; None where images are named.
    """

    authority: str
    prefix: str = ""
    sifs: SifAnswers | None = None

    async def name(self, request: ContainerRequest) -> str:
        """Return what the image of a request is called."""
        if self.sifs is not None:
            return await self.sifs.name(request)
        return target_name(self.authority, request.token, request.plan)

    @property
    def needs_pin(self) -> bool:
        """Whether there is no name before it is known what is in the image."""
        return self.sifs is not None and self.sifs.are_files

    async def has_to_be_there(self, asked: Submission, request: ContainerRequest) -> bool:
        """Tell whether whoever has the name finds nothing by it before the request is ready, and does not wait."""
        if asked.dry_run:
            return False
        delivery = asked.plan.delivery
        is_pushed = delivery is not None and delivery.repository is not None
        if self.sifs is not None:
            return await self.sifs.file(request) is not None
        return is_pushed and not (asked.plan.is_file and delivery is not None and delivery.mode == "mirror")
