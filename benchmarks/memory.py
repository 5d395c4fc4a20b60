"""Resident memory of the daemon (VmRSS when idle after its start; the peak, VmHWM, under load): 100 clients read a blob
of 1 GB to its end at the same time, first while it is fetched from the upstream, then from the store.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from field import Field, raw_layer
from readers import pull_together
from report import Row, bounded

from lab import images
from lab.daemon import Daemon
from lab.http import get
from lab.processes import LabError

CLIENTS = 100
BLOB_BYTES = 1_000_000_000
SECONDS = 240.0
REPOSITORY = "bench/gigabyte"


def measure(field: Field) -> list[Row]:
    """Return idle and peak memory."""
    image = images.image([raw_layer(BLOB_BYTES, seed=1)])
    field.registry.push(REPOSITORY, "1", image)
    blob = image.json()["layers"][0]["digest"]
    with ExitStack() as stack:
        daemon = Daemon(field.fresh("memory"))
        stack.callback(daemon.stop)
        daemon.start()
        rows = [bounded("memory, idle", [_megabytes(daemon, "VmRSS")], "MB", 90)]
        path = f"/v2/{field.registry.host}/{REPOSITORY}"
        if get(f"{daemon.url}{path}/manifests/1", accept=image.media_type).status != 200:
            raise LabError("no manifest")
        for state in ("cold", "warm"):
            Path(f"/proc/{daemon.pid}/clear_refs").write_text("5")  # the peak starts again from here
            pull_together(daemon.authority, f"{path}/blobs/{blob}", CLIENTS, SECONDS)
            measure = f"memory, {CLIENTS} pulls of 1 GB, {state}"
            rows.append(bounded(measure, [_megabytes(daemon, "VmHWM")], "MB", 200))
    return rows


def _megabytes(daemon: Daemon, field: str) -> float:
    lines = Path(f"/proc/{daemon.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:")) / 1000
