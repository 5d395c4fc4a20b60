"""Measures wavelet side by side with its peers, prints one table and writes it to RESULTS.md.

    python benchmarks/bench.py                  everything, some eight minutes
    python benchmarks/bench.py --only manifests one measure; nothing is written

Rounds of wavelet and its peers alternate, and a ratio is the median of adjacent rounds' ratios: machines are busy.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests"))

import cold  # noqa: E402 - the lab has to be found first
import conda_images  # noqa: E402
import conda_memory  # noqa: E402
import conda_shared  # noqa: E402
import crowd  # noqa: E402
import memory  # noqa: E402
import post  # noqa: E402
import ready  # noqa: E402
import status  # noqa: E402
import warm_blobs  # noqa: E402
import warm_manifests  # noqa: E402
from field import Field  # noqa: E402
from report import Row, machine, table  # noqa: E402

MEASURES = {
    "ready": ready,
    "blobs": warm_blobs,
    "manifests": warm_manifests,
    "cold": cold,
    "crowd": crowd,
    "post": post,
    "status": status,
    "memory": memory,
}
NEEDED = ("docker-registry", "nginx", "wrk", "skopeo", "curl")


def main() -> int:
    """Run what is asked for; the exit status says whether it ran, not whether the marks are met."""
    arguments = argparse.ArgumentParser(description="Measure wavelet against its peers.")
    arguments.add_argument("--only", action="append", choices=list(MEASURES), metavar="NAME", help=", ".join(MEASURES))
    chosen = arguments.parse_args().only or list(MEASURES)
    missing = [
        name for name in NEEDED if shutil.which(name, path="/usr/sbin:/sbin:/usr/bin:/bin:/usr/local/bin") is None
    ]
    if missing:
        print(f"make bench needs {', '.join(missing)} (apt-get install docker-registry nginx wrk skopeo curl)")
        return 1
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="wavelet-bench-") as directory, Field(Path(directory)) as field:
        for name in chosen:
            started = time.monotonic()
            rows += MEASURES[name].measure(field)
            print(f"{name}: {time.monotonic() - started:.0f} s", file=sys.stderr)
    print(table(rows))
    if len(chosen) == len(MEASURES):
        (HERE / "RESULTS.md").write_text(_results(rows))
    return 0


def _results(rows: list[Row]) -> str:
    how = "\n".join(f"- **{name}**: {' '.join((module.__doc__ or '').split())}" for name, module in MEASURES.items())
    facts = "\n".join(f"- {line}" for line in machine())
    return f"""\
# Measured

Written by `make bench`. A ratio is the median of the rounds' ratios, with its least and greatest; rounds of wavelet and
its peers alternate. Everything runs on one machine over loopback: clients and peers share its cores.

{facts}

{table(rows)}

## How

{how}
"""


if __name__ == "__main__":
    sys.exit(main())
