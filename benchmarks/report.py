"""One table: what was measured, wavelet, its peer, their ratio, the mark, and whether it is met."""

from __future__ import annotations

import datetime
import importlib.metadata
import platform
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.processes import run

_HEADER = ("measure", "wavelet", "peer", "ratio", "mark", "met")
_LIBRARIES = ("aiohttp", "msgspec", "structlog", "prometheus_client", "isal", "zstandard", "py-rattler")
_PROGRAMS = (
    "nginx",
    "docker-registry",
    "wrk",
    "skopeo",
    "buildah",
    "podman",
    "docker.io",
    "containerd",
    "squashfs-tools",
)


@dataclass(frozen=True)
class Row:
    """One line of the table; `met` is None where there is no mark."""

    measure: str
    wavelet: str
    peer: str = ""
    ratio: str = ""
    mark: str = ""
    met: bool | None = None

    def cells(self) -> tuple[str, ...]:
        """Return the line's cells."""
        met = "" if self.met is None else "yes" if self.met else "**no**"
        return self.measure, self.wavelet, self.peer, self.ratio, self.mark, met


def against(
    measure: str,
    peer: str,
    ours: Sequence[float],
    theirs: Sequence[float],
    unit: str,
    *,
    at_least: float | None = None,
    at_most: float | None = None,
) -> Row:
    """Compare two series of adjacent rounds: medians, and the median of the rounds' ratios."""
    ratios = [mine / other for mine, other in zip(ours, theirs, strict=True)]
    ratio = statistics.median(ratios)
    sign, mark = ("≥", at_least) if at_least is not None else ("≤", at_most)
    return Row(
        measure,
        f"{_number(statistics.median(ours))} {unit}",
        f"{peer}: {_number(statistics.median(theirs))} {unit}",
        f"{_number(ratio)} ({_number(min(ratios))} to {_number(max(ratios))})",
        "" if mark is None else f"{sign} {mark:g} x {peer}",
        None if mark is None else ratio >= mark if at_least is not None else ratio <= mark,
    )


def faster(
    measure: str, peer: str, ours: Sequence[float], theirs: Sequence[float], unit: str, *, at_least: float
) -> Row:
    """Compare two series of adjacent rounds as `against` does; the ratio is how many times as long the peer takes."""
    ratios = [other / mine for mine, other in zip(ours, theirs, strict=True)]
    ratio = statistics.median(ratios)
    return Row(
        measure,
        f"{_number(statistics.median(ours))} {unit}",
        f"{peer}: {_number(statistics.median(theirs))} {unit}",
        f"{_number(ratio)} ({_number(min(ratios))} to {_number(max(ratios))})",
        f"≥ {at_least:g} x as fast",
        ratio >= at_least,
    )


def bounded(measure: str, values: Sequence[float], unit: str, at_most: float, peer: str = "") -> Row:
    """Hold the median of `values` against a bound."""
    median = statistics.median(values)
    spread = f" ({_number(min(values))} to {_number(max(values))})" if len(values) > 1 else ""
    return Row(
        measure, f"{_number(median)} {unit}{spread}".strip(), peer, "", f"≤ {at_most:g} {unit}", median <= at_most
    )


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def table(rows: Iterable[Row]) -> str:
    """Return the rows as a Markdown table that reads well as plain text too."""
    lines = [_HEADER, *(row.cells() for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(_HEADER))]
    lines.insert(1, tuple("-" * width for width in widths))
    padded = (
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines
    )
    return "\n".join(padded)


def machine() -> list[str]:
    """Say what the figures were measured on."""
    cpu = next(line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name"))
    cores = sum(line.startswith("processor") for line in _lines("/proc/cpuinfo"))
    memory = int(_lines("/proc/meminfo")[0].split()[1]) // 1024**2
    load = _lines("/proc/loadavg")[0].split()[0]
    libraries = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in _LIBRARIES)
    return [
        f"date: {datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC",
        f"machine: {cpu}, {cores} cores, {memory} GB of memory; load {load} at the end",
        f"system: Linux {platform.release()}, {platform.freedesktop_os_release()['PRETTY_NAME']}",
        f"wavelet: Python {platform.python_version()}, {libraries}",
        f"peers and clients: {', '.join(f'{package} {_version(package)}' for package in _PROGRAMS)}",
    ]


def _version(package: str) -> str:
    found = run(["dpkg-query", "-W", "-f", "${Version}", package], check=False)
    return found.stdout.strip() or "(not Debian's)"


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines()
