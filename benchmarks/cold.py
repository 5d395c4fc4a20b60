"""A pull from an empty store, against the same pull straight from the registry, in turn, every round with a daemon of
its own: one blob of 500 MB by curl; an image of six layers of 50 MB by skopeo into a directory, from a registry on this
machine and from one with the speed of a network (1 Gbit/s; skopeo writes a directory layer after layer).
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable

from field import Field, raw_layer
from report import Row, against
from rounds import alternate

from lab import images
from lab.daemon import Daemon
from lab.engines import skopeo
from lab.http import get
from lab.processes import LabError, run

ROUNDS = 7
SLOW_ROUNDS = 3
BLOB_BYTES = 500_000_000
LAYERS = 6
LAYER_BYTES = 50_000_000


def measure(field: Field) -> list[Row]:
    """Return seconds against the direct pull."""
    one = images.image([raw_layer(BLOB_BYTES, seed=500)])
    several = images.image([raw_layer(LAYER_BYTES, seed=each) for each in range(100, 100 + LAYERS)])
    field.registry.push("cold/one", "1", one)
    field.registry.push("cold/several", "1", several)
    field.nginx.add("cold/several", "1", several)
    blob = one.json()["layers"][0]["digest"]
    fast, slow = field.registry.host, field.nginx.slow_host
    return [
        _compare(field, "cold blob by curl", fast, "cold/one", lambda base: _curl(base, blob), ROUNDS),
        _compare(field, "cold image by skopeo", fast, "cold/several", lambda base: _skopeo(field, base), ROUNDS),
        _compare(
            field,
            "cold image by skopeo, 1 Gbit/s",
            slow,
            "cold/several",
            lambda base: _skopeo(field, base),
            SLOW_ROUNDS,
        ),
    ]


def _compare(field: Field, measure: str, host: str, repository: str, pull: Callable[[str], None], rounds: int) -> Row:
    def through_wavelet() -> float:
        daemon = Daemon(field.fresh("cold"))
        daemon.start()
        try:
            return _timed(pull, f"{daemon.authority}/{host.replace(':', '_')}/{repository}")
        finally:
            daemon.stop()
            shutil.rmtree(daemon.state)

    times = alternate(rounds, {"wavelet": through_wavelet, "direct": lambda: _timed(pull, f"{host}/{repository}")})
    return against(measure, "direct", times["wavelet"], times["direct"], "s", at_most=1.05)


def _timed(pull: Callable[[str], None], base: str) -> float:
    os.sync()  # what earlier rounds have written is not this one's to wait for
    started = time.monotonic()
    pull(base)
    return time.monotonic() - started


def _curl(base: str, blob: str) -> None:
    host, _, repository = base.partition("/")
    url = f"http://{host}/v2/{repository}"
    if get(f"{url}/manifests/1", accept=", ".join(images.MANIFEST_TYPES)).status != 200:
        raise LabError(f"no manifest at {url}")
    run(
        ["curl", "--silent", "--show-error", "--fail", "--noproxy", "*", "--output", "/dev/null", f"{url}/blobs/{blob}"]
    )


def _skopeo(field: Field, base: str) -> None:
    target = field.fresh("pulled")
    skopeo("copy", "--quiet", "--src-tls-verify=false", f"docker://{base}:1", f"dir:{target}")
    shutil.rmtree(target)
