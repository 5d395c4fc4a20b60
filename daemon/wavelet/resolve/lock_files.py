"""The exact packages of a request, written as a lock file."""

from __future__ import annotations

from typing import Literal, get_args

LockForm = Literal["explicit", "pixi", "conda-lock"]

LOCK_FORMS: tuple[LockForm, ...] = get_args(LockForm)
"""The forms that a lock can be asked for in; the first one where nothing is said."""
