"""Manifests a second of an image that every server has, by tag and by digest (wrk with one thread and 8 keep-alive
connections, one second a round, seven rounds of every server in turn); and the CPU time of the server for each.
"""

from __future__ import annotations

from field import Field
from report import Row, against
from rounds import alternate

ROUNDS = 7
MARKS = {"its proxy": 8, "nginx": 0.1, "distribution": None}


def measure(field: Field) -> list[Row]:
    """Return requests a second against the proxy, nginx and the plain registry, and what they cost."""
    references = {"tag": field.TAG, "digest": field.image.digest}
    return [row for by, reference in references.items() for row in _measure(field, f"warm manifest by {by}", reference)]


def _measure(field: Field, measure: str, reference: str) -> list[Row]:
    accept = [f"Accept: {field.image.media_type}"]
    served = alternate(ROUNDS, field.loads(f"manifests/{reference}", clients=8, headers=accept))
    rates = {name: [each.load.requests_per_second for each in rounds] for name, rounds in served.items()}
    costs = {name: [each.cpu_seconds * 1000 / each.load.requests for each in rounds] for name, rounds in served.items()}
    rows = [against(measure, peer, rates["wavelet"], rates[peer], "/s", at_least=MARKS[peer]) for peer in MARKS]
    return rows + [against(f"{measure}, CPU each", peer, costs["wavelet"], costs[peer], "ms") for peer in MARKS]
