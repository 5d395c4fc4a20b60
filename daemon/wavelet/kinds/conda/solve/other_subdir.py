"""What channels have for the usual platform alone: packages that nobody has built for the one that is asked for.

Only the solver process imports this.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rattler import Gateway, MatchSpec, RepoDataRecord
from rattler.exceptions import GatewayError

from wavelet.kinds.conda.solve.candidates import time_of
from wavelet.kinds.conda.solve.messages import USUAL_SUBDIR

_NOARCH = "noarch"


async def only_usual(
    specs: Sequence[MatchSpec], gateway: Gateway, channels: Sequence[str], subdir: str, newest: float | None
) -> list[MatchSpec]:
    """Return those of the specs that channels have packages for in `USUAL_SUBDIR`, and none in `subdir` or noarch.

    Args:
        specs: of packages, one or more of a name.
        gateway: with the channels' indexes.
        channels: URLs.
        subdir: of the platform that is asked for; of the usual one nothing is ever only elsewhere.
        newest: only packages of before this time count, in unix seconds.
    """
    if subdir == USUAL_SUBDIR or not specs:
        return []
    try:
        answer = await gateway.query(
            list(channels),
            [subdir, _NOARCH, USUAL_SUBDIR],  # type: ignore[list-item]
            sorted({spec.name.normalized for spec in specs}),
            recursive=False,
            channel_relations="disabled",
        )
    except GatewayError:  # it was not asked for: what is said of the platform that was stands without it
        return []
    early = [record for found in answer for record in found if newest is None or time_of(record) <= newest]
    return [spec for spec in specs if _subdirs(spec, early) == {USUAL_SUBDIR}]


def _subdirs(spec: MatchSpec, records: Iterable[RepoDataRecord]) -> set[str]:
    """Return the directories of the records that a spec takes."""
    return {record.subdir for record in records if spec.matches(record)}
