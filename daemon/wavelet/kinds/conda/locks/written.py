"""The exact packages of a request, written as a lock file."""

from __future__ import annotations

from typing import Literal, get_args

from wavelet.kinds.conda.compose import meta, parts
from wavelet.kinds.conda.locks.lockfiles import conda_lock, pixi_lock
from wavelet.kinds.work import Work
from wavelet.plan.conda import FromLock, subdir_of

LockForm = Literal["explicit", "pixi", "conda-lock"]

LOCK_FORMS: tuple[LockForm, ...] = get_args(LockForm)
"""The forms that a lock can be asked for in; the first one where nothing is said."""


async def written(plan: FromLock, form: LockForm, work: Work) -> str:
    """Return a lock as text. Forms that say what packages depend on need the layers to be made.

    Raises:
        WaveletError: a layer cannot be made.
    """
    if form == "explicit":
        return meta.explicit(plan.packages, subdir_of(plan.platform), plan.wheels)
    every = [*await parts.packages(plan, work), *await parts.wheels(plan, work)]
    locked = [(part.of, part.info) for part in every if part.of is not None]
    return pixi_lock(plan, locked) if form == "pixi" else conda_lock(plan, locked)
