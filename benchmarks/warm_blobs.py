"""A blob of 61 MB that every server has already, read by 1 and by 8 clients (wrk with one thread, one second a round,
seven rounds of every server in turn, forwards and backwards). nginx (one worker, sendfile) is the limit of the machine.
"""

from __future__ import annotations

from field import Field
from load import load
from report import Row, against
from rounds import alternate

ROUNDS = 7


def measure(field: Field) -> list[Row]:
    """Return throughput against nginx and the plain registry."""
    rows = []
    for clients in (1, 8):
        rates = alternate(
            ROUNDS,
            {
                name: lambda base=base: load(f"{base}/blobs/{field.blob}", clients=clients).bytes_per_second / 1e9
                for name, base in field.bases().items()
            },
        )
        measure = f"warm blob, {clients} client{'s' if clients > 1 else ''}"
        rows.append(against(measure, "nginx", rates["wavelet"], rates["nginx"], "GB/s", at_least=0.9))
        rows.append(against(measure, "distribution", rates["wavelet"], rates["distribution"], "GB/s", at_least=1.5))
        rows.append(against(measure, "its proxy", rates["wavelet"], rates["its proxy"], "GB/s"))
    return rows
