"""The endpoints of Wave's API: the one that names images, and, under `/sif`, the one that answers SIF files.

What is asked for is the same; `wave.endpoint` says which answers a client gets.
"""

from __future__ import annotations

from dataclasses import dataclass

from wavelet.front.reading.submission import Submission
from wavelet.plan.tokens import target_name
from wavelet.requests.request import ContainerRequest
from wavelet.requests.sif_answers import SifAnswers


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What the answers of one endpoint are.

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

    async def is_there_when_ready(self, asked: Submission, request: ContainerRequest) -> bool:
        """Tell whether nothing is found by the name until the request is ready: a file, or what is pushed.

        All other names are this daemon's own, and whoever pulls one waits in the pull.
        """
        if asked.dry_run:
            return False
        if self.sifs is not None:
            return await self.sifs.file(request) is not None
        delivery = asked.plan.delivery
        if delivery is None or (delivery.mode == "mirror" and asked.plan.is_file):
            return False
        return delivery.repository is not None
