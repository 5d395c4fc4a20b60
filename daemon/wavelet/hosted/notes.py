"""Notes of where images were pushed, for the other nodes of a cluster: a node that lacks one says which has it.

A note is a claim, sealed as all are, of who pushed last. It has no content of the image; nothing follows from it but a
sentence. Nodes by themselves note nothing.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Iterable
from pathlib import Path

import structlog

from wavelet.cluster.claims import Claims
from wavelet.errors import ImageNotFound, WaveletError
from wavelet.hosted.model import HostedRepository
from wavelet.image.reference import Digest

log = structlog.get_logger()

NOTE_WAIT = 5.0
"""Seconds that a push, or the answer of a name that is not here, waits for the shared directory."""


class PushNotes:
    """See the module."""

    def __init__(self, claims: Claims, state: Path) -> None:
        """`state` is the state directory: by that and its machine a daemon is told apart from others."""
        self._claims = claims
        self._node = socket.gethostname()
        self._daemon = f"{self._node}:{state}"

    async def pushed(self, repository: HostedRepository, references: Iterable[str | Digest]) -> None:
        """Note that these references of a repository are had on this node. What fails is logged: the push stands."""
        if self._claims.shares:
            note = {"node": self._node, "daemon": self._daemon}
            await self._write([_key(repository, reference) for reference in references], note)

    async def removed(self, repository: HostedRepository, references: Iterable[str | Digest]) -> None:
        """Note that they are had here no longer, if nobody else has pushed them since."""
        if self._claims.shares:
            keys = [_key(repository, reference) for reference in references]
            await self._write([key for key in keys if (await self._read(key)).get("daemon") == self._daemon], {})

    async def missing(self, view: Iterable[HostedRepository], reference: str | Digest) -> ImageNotFound:
        """Return the error of a reference that this node does not have; where another one has it, it says so."""
        mark = "@" if isinstance(reference, Digest) else ":"
        repositories = list(view)
        path = repositories[0].name if repositories else ""
        name = f"{path}{mark}{reference}" if path else "what is asked for"
        for repository in repositories if self._claims.shares else ():
            note = await self._read(_key(repository, reference))
            if note and note.get("daemon") != self._daemon:
                return ImageNotFound(
                    f"{name} was pushed on node {note.get('node')}; images that are pushed stay on their node: ask"
                    " there, push it here too, or push it to a registry that all nodes reach"
                )
        return ImageNotFound(
            f"{name} was not pushed to this node, or not by whoever asks: what a user has pushed is that user's alone"
        )

    async def _write(self, keys: list[str], note: dict[str, str]) -> None:
        try:
            async with asyncio.timeout(NOTE_WAIT):
                for key in keys:
                    await self._claims.claim(key, json.dumps(note).encode(), replace=True)
        except (WaveletError, TimeoutError) as error:
            log.warning("other nodes do not hear of what was pushed", because=str(error) or "no answer in time")

    async def _read(self, key: str) -> dict[str, str]:
        try:
            async with asyncio.timeout(NOTE_WAIT):
                data = await self._claims.claimed(key)
        except (WaveletError, TimeoutError):
            return {}
        return {} if data is None else dict(json.loads(data))


def _key(repository: HostedRepository, reference: str | Digest) -> str:
    return f"pushed {repository.owner} {repository.name} {reference}"
