"""A mirror of an index of two platforms, five layers of 100 MB each, from a registry on this machine to another one
(docker-registry, empty), against `skopeo copy --all` and `crane copy`; five rounds in turn. wavelet's
process runs already, as the daemon does; the peers' are started. Nothing of the image is in wavelet's store, or gets
there.
"""

from __future__ import annotations

from collections.abc import Callable

from copies import Copied, by_wavelet, compare, empty_registry, large_layer, timed
from field import Field
from report import Row, bounded
from rounds import alternate

from lab import images

ROUNDS = 5
LAYERS = 5
LAYER_BYTES = 100_000_000
PLATFORMS = ("linux/amd64", "linux/arm64")


def measure(field: Field) -> list[Row]:
    """Return seconds against both peers, and memory."""
    seeds = iter(range(2000, 3000))
    members = [
        images.image([large_layer(LAYER_BYTES, next(seeds)) for _ in range(LAYERS)], family=images.OCI, platform=each)
        for each in PLATFORMS
    ]
    index = images.index(members, family=images.OCI)
    source = field.registry.push("mirror/source", "1", index)
    digest = index.digest
    del members, index
    pinned = f"{source.rpartition(':')[0]}@{digest}"
    copied: list[Copied] = []

    def by_peer(command: Callable[[str], list[str]]) -> float:
        with empty_registry(field) as place:
            return timed(command(f"{place}:1"))

    def through_wavelet() -> float:
        with empty_registry(field) as place:
            copied.extend(by_wavelet(field.fresh("mirroring"), "mirror", pinned, f"{place}:1"))
        return copied[-1].seconds

    times = alternate(
        ROUNDS,
        {
            "wavelet": through_wavelet,
            "skopeo": lambda: by_peer(lambda target: _skopeo(source, target)),
            "crane": lambda: by_peer(lambda target: ["crane", "copy", "--insecure", source, target]),
        },
    )
    return [
        *compare("mirror of 1 GB, two platforms", times),
        bounded("mirror of 1 GB, two platforms: memory", [each.memory for each in copied], "MB", 120),
    ]


def _skopeo(source: str, target: str) -> list[str]:
    tls = ["--src-tls-verify=false", "--dest-tls-verify=false"]
    return ["skopeo", "--insecure-policy", "copy", "--quiet", "--all", *tls, f"docker://{source}", f"docker://{target}"]
