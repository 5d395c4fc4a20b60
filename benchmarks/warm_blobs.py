"""A blob of 61 MB that every server has already, read by 1 and by 8 clients (wrk with one thread, one second a round,
seven rounds of every server in turn, forwards and backwards). nginx (one worker, sendfile) is the limit of the machine.
The client takes a core of its own and is often the slowest part; so the CPU time of the server per blob is given too.
"""

from __future__ import annotations

from field import BLOB_BYTES, Field
from report import Row, against
from rounds import alternate

ROUNDS = 7
MARKS = {"nginx": 0.9, "distribution": 1.5, "its proxy": None}


def measure(field: Field) -> list[Row]:
    """Return throughput against nginx, the plain registry and the proxy, and what it costs."""
    return [row for clients in (1, 8) for row in _measure(field, clients)]


def _measure(field: Field, clients: int) -> list[Row]:
    served = alternate(ROUNDS, field.loads(f"blobs/{field.blob}", clients=clients))
    rates = {name: [each.load.bytes_per_second / 1e9 for each in rounds] for name, rounds in served.items()}
    costs = {
        name: [each.cpu_seconds * 1000 * BLOB_BYTES / each.load.bytes for each in rounds]
        for name, rounds in served.items()
    }
    measure = f"warm blob, {clients} client{'s' if clients > 1 else ''}"
    rows = [against(measure, peer, rates["wavelet"], rates[peer], "GB/s", at_least=MARKS[peer]) for peer in MARKS]
    return rows + [against(f"{measure}, CPU a blob", peer, costs["wavelet"], costs[peer], "ms") for peer in MARKS]
