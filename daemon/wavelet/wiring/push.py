"""The services that copy whole images to registries, built."""

from __future__ import annotations

from dataclasses import dataclass

from wavelet.push.image_push import ImagePusher
from wavelet.push.mirror import Mirror
from wavelet.wiring.images import ImageServices
from wavelet.wiring.state import NodeState
from wavelet.wiring.upstream import UpstreamServices


@dataclass(frozen=True, slots=True)
class PushServices:
    """What copies images that are made here, and those of other registries."""

    images: ImagePusher
    mirror: Mirror


def build_push(state: NodeState, upstream: UpstreamServices, images: ImageServices) -> PushServices:
    """Build what copies images."""
    client, pushed = upstream.client, images.pushed
    return PushServices(
        ImagePusher(images.resolver, state.store, client.pusher, pushed),
        Mirror(client, upstream.grants, state.store, client.pusher, pushed),
    )
