"""Fifty clients ask at the same moment for one blob of 61 MB that the server does not have yet, its manifest known.
Counted: requests for that blob in the upstream's log, and the time until each client has a byte of the body. Five
rounds of other blobs, the proxy in turn with wavelet.
"""

from __future__ import annotations

from contextlib import ExitStack

from field import BLOB_BYTES, Distribution, Field, raw_layer
from readers import pull_together
from report import Row, bounded

from lab import images
from lab.daemon import Daemon
from lab.http import get
from lab.processes import LabError
from lab.registry import Registry

CLIENTS = 50
ROUNDS = 5
SECONDS = 60.0


def measure(field: Field) -> list[Row]:
    """Return fetches and first bytes."""
    fetches: dict[str, list[float]] = {"wavelet": [], "its proxy": []}
    last: dict[str, list[float]] = {"wavelet": [], "its proxy": []}
    middle: list[float] = []
    with ExitStack() as stack:
        upstream = Registry(field.fresh("counted"))
        upstream.start()
        stack.callback(upstream.stop)
        proxy = Distribution(field.fresh("crowded"), upstream.url)
        proxy.start()
        stack.callback(proxy.stop)
        daemon = Daemon(field.fresh("crowd"))
        stack.callback(daemon.stop)
        daemon.start()
        for number in range(ROUNDS * 2):
            repository = f"crowd/n{number}"
            image = images.image([raw_layer(BLOB_BYTES, seed=number)])
            upstream.push(repository, "1", image)
            blob = image.json()["layers"][0]["digest"]
            name, server, path = (
                ("wavelet", daemon, f"/v2/{upstream.host}/{repository}")
                if number % 2 == 0
                else ("its proxy", proxy, f"/v2/{repository}")
            )
            if get(f"{server.url}{path}/manifests/1", accept=image.media_type).status != 200:
                raise LabError(f"{name} has no manifest")
            authority = server.url.removeprefix("http://")
            pulls = pull_together(authority, f"{path}/blobs/{blob}", CLIENTS, SECONDS)
            times = sorted((pull.first_byte or SECONDS) * 1000 for pull in pulls)
            fetches[name].append(upstream.count(blob))
            last[name].append(times[-1])
            if name == "wavelet":
                middle.append(times[len(times) // 2])
    theirs = sorted(fetches["its proxy"])[ROUNDS // 2], sorted(last["its proxy"])[ROUNDS // 2]
    return [
        bounded(f"{CLIENTS} clients, one cold blob: upstream requests", fetches["wavelet"], "", 1,
                f"its proxy: {theirs[0]:.0f}"),
        bounded(f"{CLIENTS} clients, one cold blob: first byte of the last", last["wavelet"], "ms", 100,
                f"its proxy: {theirs[1]:.0f} ms"),
        Row(f"{CLIENTS} clients, one cold blob: first byte, median client", f"{sorted(middle)[ROUNDS // 2]:.0f} ms"),
    ]  # fmt: skip
