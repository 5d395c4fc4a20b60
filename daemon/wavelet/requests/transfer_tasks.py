"""Several images on their way at once, and what is told of them: each by itself, the latest only, and its end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Protocol

from wavelet.defects import defect
from wavelet.errors import WaveletError
from wavelet.image.reference import Digest

LOOK = 0.2
"""Seconds between two looks at how far images are."""


@dataclass(frozen=True, slots=True)
class TransferStatus:
    """How far one image is.

    Attributes:
        index: its place in what was asked for, from 0.
        done_bytes, total_bytes: bytes in place, of how many; of 0 while that is not known.
        digest: of its manifest, once that is known.
        done: it is complete.
        blobs, manifests: how many were sent, or would be; 0 while that is not known, and where nobody counts them.
        error: why it is not, and will not be.
    """

    index: int
    done_bytes: int = 0
    total_bytes: int = 0
    digest: Digest | None = None
    done: bool = False
    error: WaveletError | None = None
    blobs: int = 0
    manifests: int = 0

    @property
    def ended(self) -> bool:
        """Whether this is the last that is said of the image."""
        return self.done or self.error is not None


class TransferTask(Protocol):
    """One image on its way."""

    done: bool
    error: WaveletError | None

    def now(self) -> TransferStatus:
        """Return how far it is."""

    async def transfer(self) -> None:
        """Have it where it shall be.

        Raises:
            WaveletError: why it cannot be there.
        """


async def run_all(images: Sequence[TransferTask], concurrency: int) -> AsyncGenerator[TransferStatus, None]:
    """Transfer images, at most `concurrency` at one time; yield each at its start, as it goes, and at its end.

    One that fails stops no other. When this is closed, all that has not ended is cancelled.
    """
    places = asyncio.Semaphore(concurrency)
    tasks = [asyncio.create_task(_attempt(each, places), name="transfer") for each in images]
    said = [TransferStatus(index) for index in range(len(images))]
    try:
        for first in said[:]:
            yield first
        while waiting := [index for index, last in enumerate(said) if not last.ended]:
            await asyncio.wait([tasks[index] for index in waiting], timeout=LOOK)
            for index in waiting:
                now = images[index].now()
                if now != said[index]:
                    said[index] = now
                    yield now
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _attempt(image: TransferTask, places: asyncio.Semaphore) -> None:
    try:
        async with places:
            await image.transfer()
        image.done = True
    except WaveletError as error:
        image.error = error
    except Exception:  # noqa: BLE001 - whoever asked for the image is told
        image.error = defect("the transfer of an image failed by a defect")
