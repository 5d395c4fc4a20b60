"""The three ways in which a plan is written."""

from __future__ import annotations

import enum


class View(enum.Enum):
    """For what a plan is written.

    NAME: equal requests have equal bytes, so it leaves out what may differ between them, and with what version of
    wavelet an image is made. KEY: all on which the bytes of what is made depend. RECORD: nothing is left out that was
    asked for, so that it can be read back, by every version that knows the form.
    """

    NAME = "name"
    KEY = "key"
    RECORD = "record"
