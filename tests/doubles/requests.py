"""One double in place of all services of container requests."""

from __future__ import annotations

from typing import Any

from wavelet.requests.container_requests import ContainerRequests


def in_place_of_all(double: Any) -> ContainerRequests:
    """Return services that are all `double`, which has those of their methods that a test needs."""
    return ContainerRequests(*[double] * 8)
