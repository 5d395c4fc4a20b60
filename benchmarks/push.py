"""A push of 1 GB in 10 layers that nobody can compress to a registry on this machine (docker-registry,
empty), against `skopeo copy` and `crane push` of the same image from an OCI layout on the same disk; five rounds
in turn. wavelet has the image in its store, and its process runs already, as the daemon does; the peers' are started.
Then a second image of which one layer of ten is another one, pushed to another repository of the registry by the
same process: bytes that were sent of those that it has.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from copies import Copied, by_wavelet, compare, empty_registry, large_layer, timed, write_layout
from field import Field
from report import Row, bounded
from rounds import alternate

from lab import images

ROUNDS = 5
LAYERS = 10
LAYER_BYTES = 100_000_000


def measure(field: Field) -> list[Row]:
    """Return seconds against both peers, memory, and the share of bytes that a second image takes."""
    layers = [large_layer(LAYER_BYTES, seed) for seed in range(1000, 1001 + LAYERS)]
    first, second = (
        write_layout(images.image(chosen, family=images.OCI), field.fresh("layout"))
        for chosen in (layers[:LAYERS], layers[1:])
    )
    del layers
    state = field.fresh("pushing")
    copied: list[Copied] = []

    def by_peer(command: Callable[[str], list[str]]) -> float:
        with empty_registry(field) as place:
            return timed(command(f"{place}:1"))

    def through_wavelet() -> float:
        with empty_registry(field) as place:
            copied.extend(by_wavelet(state, "push", str(first), f"{place}:1"))
        return copied[-1].seconds

    times = alternate(
        ROUNDS,
        {
            "wavelet": through_wavelet,
            "skopeo": lambda: by_peer(lambda target: _skopeo(first, target)),
            "crane": lambda: by_peer(lambda target: ["crane", "push", "--insecure", str(first), target]),
        },
    )
    with empty_registry(field) as place:
        both = by_wavelet(state, "push", str(first), f"{place}:1", str(second), f"{place}/other:1")
    share = 100 * both[1].bytes / both[0].bytes
    return [
        *compare("push of 1 GB in 10 layers", times),
        bounded("push of 1 GB in 10 layers: memory", [each.memory for each in copied], "MB", 120),
        bounded("push of a second image that shares 9 layers of 10: bytes", [share], "%", 12),
    ]


def _skopeo(layout: Path, target: str) -> list[str]:
    tls = ["--insecure-policy", "copy", "--quiet", "--dest-tls-verify=false"]
    return ["skopeo", *tls, f"oci:{layout}:1", f"docker://{target}"]
