"""Names by which root gets what root alone may read.

Over HTTP the daemon takes root for a container engine, which pulls for others: for whom, only a request's name says.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TypeVar

from wavelet.client import Client, WaveletRpcError
from wavelet.errors import AccessRefused

T = TypeVar("T")


def as_caller(client: Client, image: str, platform: str, pull: Callable[[str], T]) -> T:
    """Pull an image by its name, and, where that is refused to root, by one that root has asked for.

    Args:
        client: asks as who calls.
        image: as engines pull it, without a scheme.
        platform: for which it is asked for; empty: the usual one.
        pull: does it, by a name.

    Raises:
        WaveletError: what `pull` raises.
    """
    try:
        return pull(image)
    except AccessRefused:
        if os.geteuid() != 0:
            raise
        try:
            asked = client.resolve(container_image=image, platforms=[platform] if platform else [])
        except WaveletRpcError:
            asked = None  # the first answer says what is wrong
        if asked is None:
            raise
    return pull(asked.target_image)
