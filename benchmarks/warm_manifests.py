"""Manifests a second of an image that every server has, by tag and by digest (wrk with one thread and 8 keep-alive
connections, one second a round, seven rounds of every server in turn).
"""

from __future__ import annotations

from field import Field
from load import load
from report import Row, against
from rounds import alternate

ROUNDS = 7


def measure(field: Field) -> list[Row]:
    """Return requests a second against the proxy, nginx and the plain registry."""
    rows = []
    accept = [f"Accept: {field.image.media_type}"]
    for by, reference in (("tag", field.TAG), ("digest", field.image.digest)):
        rates = alternate(
            ROUNDS,
            {
                name: lambda url=f"{base}/manifests/{reference}": (
                    load(url, clients=8, headers=accept).requests_per_second
                )
                for name, base in field.bases().items()
            },
        )
        measure = f"warm manifest by {by}"
        rows.append(against(measure, "its proxy", rates["wavelet"], rates["its proxy"], "/s", at_least=8))
        rows.append(against(measure, "nginx", rates["wavelet"], rates["nginx"], "/s", at_least=0.1))
        rows.append(against(measure, "distribution", rates["wavelet"], rates["distribution"], "/s"))
    return rows
