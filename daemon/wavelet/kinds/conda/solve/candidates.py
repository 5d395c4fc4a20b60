"""The versions that channels have of a package that no candidates were found for, nearest first.

Only the solver process imports this.
"""

from __future__ import annotations

import bisect
import re
from collections.abc import Container, Iterable, Mapping, Sequence

from rattler import Gateway, RepoDataRecord, Version
from rattler.exceptions import InvalidVersionError

SHOWN = 8
"""Versions of one package in a sentence."""

NAMES = 4
"""Packages in a sentence."""

_LACKING = (
    re.compile(r"No candidates were found for (?P<name>[\w.-]+) ?(?P<condition>.*?)\.?$", re.MULTILINE),
    re.compile(r"(?:─ |^)(?P<name>[\w.-]+) (?P<condition>[^\n]*?), for which no candidates were found", re.MULTILINE),
)
_VERSION = re.compile(r"\d[\w.!+]*")


def lacking(explanation: str) -> dict[str, str]:
    """Return the packages that an explanation says there are no candidates for: which condition, by name."""
    found = {each["name"]: each["condition"] for pattern in _LACKING for each in pattern.finditer(explanation)}
    return {name: condition for name, condition in found.items() if not name.startswith("__")}


async def there(
    wanted: Mapping[str, str],
    gateway: Gateway,
    channels: Sequence[str],
    subdir: str,
    newest: float | None,
    elsewhere: Container[str] = (),
) -> str:
    """Return a sentence on packages that there are no candidates for; empty if there are none.

    Args:
        wanted: conditions by the packages' names; see `lacking`.
        gateway: with the channels' indexes.
        channels: URLs.
        subdir: of the platform; noarch is looked into as well.
        newest: only packages of before this time count, in unix seconds.
        elsewhere: names that are known to be there for another platform.
    """
    said = []
    for name, condition in list(wanted.items())[:NAMES]:
        answer = await gateway.query(
            list(channels),
            [subdir, "noarch"],  # type: ignore[list-item]
            [name],
            recursive=False,
            channel_relations="disabled",
        )
        records = [record for found in answer for record in found]
        if records or name not in elsewhere:
            said.append(_sentence(name, condition, records, newest))
    return "; ".join(said)


def _sentence(name: str, condition: str, records: list[RepoDataRecord], newest: float | None) -> str:
    if not records:
        return f"no channel has a package {name}"
    early = [record for record in records if newest is None or time_of(record) <= newest]
    if not early:
        return f"there is no {name} that is as old as asked"
    versions = nearest({str(record.version) for record in early}, condition)
    named = _VERSION.search(condition)
    if named is not None and named[0].rstrip(".") in versions:
        # The version is there: it is the build, or something else of the package, that is not.
        builds = sorted({str(record.build) for record in early if str(record.version) == named[0].rstrip(".")})
        return f"{name} {named[0].rstrip('.')} has the builds {_listed(builds)}"
    return f"there is {name} {_listed(versions)}"


def nearest(versions: Iterable[str], condition: str) -> list[str]:
    """Return versions in the order of how near they are to the first one that a condition names; else newest first."""
    ordered = sorted(versions, key=Version)
    named = _VERSION.search(condition)
    try:
        wanted = Version(named[0].rstrip(".")) if named is not None else None
    except InvalidVersionError:
        wanted = None
    if wanted is None:
        return ordered[::-1]
    place = bisect.bisect_left(ordered, wanted, key=Version)
    ranks = {each: place - 1 - index if index < place else index - place for index, each in enumerate(ordered)}
    return sorted(ordered, key=lambda each: ranks[each])


def _listed(texts: Sequence[str]) -> str:
    left = len(texts) - SHOWN
    return ", ".join(texts[:SHOWN]) + (f" and {left} more" if left > 0 else "")


def time_of(record: RepoDataRecord) -> float:
    """Return when a package was uploaded, in unix seconds; 0.0 where its channel does not say it."""
    return 0.0 if record.timestamp is None else record.timestamp.timestamp()
