"""The answers to who wants a SIF: a path in the site's directory, or the address at which this daemon serves it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from cachetools import LRUCache

from wavelet.cluster.sif_directory.directory import SifDirectory, SifFile
from wavelet.cluster.sif_directory.names import SifName, readable
from wavelet.plan.canonical import key as key_of
from wavelet.plan.node import INLINE, Node, file_of, layers
from wavelet.plan.tokens import ANONYMOUS, Principal
from wavelet.requests.naming import is_pushed
from wavelet.requests.request import ContainerRequest

KEY_DIGITS = 32
"""Digits of a plan's key in the name of a file: 128 bits of what the file is made of."""


REMEMBERED = 10_000
"""Requests of which it is remembered for whom their files are: a path that was answered stays what it is."""


class SifAnswers:
    """Names SIF files."""

    def __init__(self, authority: str, directory: SifDirectory, is_public: Callable[[Node], Awaitable[bool]]) -> None:
        """Answer by `authority`, this daemon's host and port in names, or by the paths of `directory`.

        `is_public` tells whether everybody may read all that a pinned plan is made of.
        """
        self._authority = authority
        self._directory = directory
        self._is_public = is_public
        self._readers: LRUCache[str, Principal] = LRUCache(REMEMBERED)

    @property
    def are_files(self) -> bool:
        """Whether paths are answered."""
        return self._directory.is_set

    async def name(self, request: ContainerRequest) -> str:
        """Return the path of a request's SIF; where there is none, its address.

        Raises:
            OurError: the directory does not answer.
        """
        file = await self.file(request)
        return str(file.path) if file is not None else self.address(request)

    def address(self, request: ContainerRequest) -> str:
        """Return the address at which this daemon serves the SIF of a request."""
        return f"http://{self._authority}/sif/{readable(request.plan.label.text)}--{request.token}.sif"

    async def file(self, request: ContainerRequest) -> SifFile | None:
        """Return the place of a request's SIF. It has none before it is known what is in it."""
        return None if request.fixed is None else await self.place(request, request.fixed)

    async def place(self, request: ContainerRequest, fixed: Node) -> SifFile | None:
        """Return the place of the SIF of a request with its pinned plan; None: only others could read it there."""
        sif = file_of(fixed)
        if sif is None or not self.are_files:
            return None
        name = SifName(request.plan.label.text, key_of(sif)[:KEY_DIGITS])
        return await self._directory.file(name, await self._reader(request, fixed))

    async def _reader(self, request: ContainerRequest, fixed: Node) -> Principal:
        """Return for whom the file is. What is pushed is its user's own request, of what may be for everybody."""
        if request.principal == ANONYMOUS or not is_pushed(fixed):
            return request.principal
        known = self._readers.get(request.token)
        if known is None:
            came_along = all(layer.location.startswith(INLINE) for layer in layers(fixed))
            is_open = came_along and await self._is_public(fixed)
            known = self._readers[request.token] = ANONYMOUS if is_open else request.principal
        return known
