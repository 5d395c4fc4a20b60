"""Measures wavelet side by side with its peers, prints one table and writes it to RESULTS.md.

    python benchmarks/bench.py                  everything, some fifteen minutes
    python benchmarks/bench.py --only manifests one measure; nothing is written
    python benchmarks/bench.py --only conda     all measures of a part; its part of RESULTS.md is written

Rounds of wavelet and its peers alternate, and a ratio is the median of adjacent rounds' ratios: machines are busy.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests"))

import bindings  # noqa: E402 - the lab has to be found first
import cold  # noqa: E402
import conda_images  # noqa: E402
import conda_layers  # noqa: E402
import conda_memory  # noqa: E402
import conda_scripts  # noqa: E402
import conda_shared  # noqa: E402
import conda_solve  # noqa: E402
import crowd  # noqa: E402
import freeze  # noqa: E402
import grpc_resolve  # noqa: E402
import memory  # noqa: E402
import mirror  # noqa: E402
import post  # noqa: E402
import private_daemon  # noqa: E402
import ready  # noqa: E402
import results  # noqa: E402
import sif_downloads  # noqa: E402
import sif_images  # noqa: E402
import sif_layers  # noqa: E402
import sif_memory  # noqa: E402
import sif_reading  # noqa: E402
import status  # noqa: E402
import warm_blobs  # noqa: E402
import warm_manifests  # noqa: E402
import who_asks  # noqa: E402
from field import Field  # noqa: E402
from report import Row, table  # noqa: E402

import packs  # noqa: E402
import push  # noqa: E402
import rules  # noqa: E402
from lab import zygote  # noqa: E402

PARTS = {
    "serving": {
        "ready": ready,
        "blobs": warm_blobs,
        "manifests": warm_manifests,
        "cold": cold,
        "crowd": crowd,
        "post": post,
        "status": status,
        "memory": memory,
    },
    "names": {
        "bindings": bindings,
    },
    "command": {
        "private-daemon": private_daemon,
        "grpc-resolve": grpc_resolve,
    },
    "access": {
        "who-asks": who_asks,
    },
    "conda": {
        "conda-images": conda_images,
        "conda-shared": conda_shared,
        "conda-memory": conda_memory,
        "conda-scripts": conda_scripts,
    },
    "layers": {
        "conda-layers": conda_layers,
    },
    "solving": {
        "conda-solve": conda_solve,
    },
    "rules": {
        "rules": rules,
        "packs": packs,
    },
    "frozen": {
        "freeze": freeze,
    },
    "copies": {
        "push": push,
        "mirror": mirror,
    },
    "sif": {
        "sif-images": sif_images,
        "sif-layers": sif_layers,
        "sif-downloads": sif_downloads,
        "sif-memory": sif_memory,
        "sif-reading": sif_reading,
    },
}
"""Measures by name, in the parts in which they are run and written down."""
MEASURES = {name: module for part in PARTS.values() for name, module in part.items()}
NEEDED = (
    *("docker-registry", "nginx", "wrk", "skopeo", "curl", "buildah", "podman", "dockerd", "containerd", "crane"),
    *("mksquashfs", "unsquashfs", "oras"),
)
RESULTS = HERE / "RESULTS.md"
_PACKAGES = (
    "docker-registry nginx wrk skopeo curl buildah podman docker.io squashfs-tools; go install …/cmd/crane, …/cmd/oras"
)


def main() -> int:
    """Run what is asked for; the exit status says whether it ran, not whether the marks are met."""
    arguments = argparse.ArgumentParser(description="Measure wavelet against its peers.")
    names = [*PARTS, *MEASURES]
    arguments.add_argument("--only", action="append", choices=names, metavar="NAME", help=", ".join(names))
    asked = arguments.parse_args().only or list(PARTS)
    missing = [name for name in NEEDED if shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin") is None]
    if missing:
        print(f"make bench needs {', '.join(missing)} (apt-get install {_PACKAGES})")
        return 1
    zygote.COUNT = 0
    with tempfile.TemporaryDirectory(prefix="wavelet-bench-") as directory, Field(Path(directory)) as field:
        for part, measures in PARTS.items():
            chosen = [name for name in measures if name in asked or part in asked]
            rows = [row for name in chosen for row in _measured(name, field)]
            if rows:
                print(table(rows), flush=True)
            if chosen == list(measures):
                RESULTS.write_text(results.with_part(RESULTS.read_text(), part, rows, measures))
    return 0


def _measured(name: str, field: Field) -> list[Row]:
    started = time.monotonic()
    rows: list[Row] = MEASURES[name].measure(field)
    print(f"{name}: {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
    return rows


if __name__ == "__main__":
    sys.exit(main())
