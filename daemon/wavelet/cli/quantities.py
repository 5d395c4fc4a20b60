"""Quantities in arguments: times and sizes with units. For `type=` of argparse."""

from __future__ import annotations

import argparse
import re

_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)([smhd]?)")
_TIME = re.compile(rf"(?:{_PART.pattern})+")


def duration(text: str) -> float:
    """Return seconds, of e.g. `90`, `90s`, `1.5m` or `1h30m`.

    Raises:
        argparse.ArgumentTypeError: not of that form, or no time at all.
    """
    if _TIME.fullmatch(text) is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time, e.g. 90s, 10m or 1h30m")
    seconds = sum(float(number) * _SECONDS[unit or "s"] for number, unit in _PART.findall(text))
    if seconds <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no time at all")
    return seconds


def byte_count(text: str) -> int:
    """Return bytes, of e.g. `500MB`, `50GiB` or `0`.

    Raises:
        argparse.ArgumentTypeError: not of that form.
    """
    from wavelet.config import ConfigError, parse_size  # noqa: PLC0415 - most commands have no sizes

    try:
        return parse_size(text, "size")
    except ConfigError as error:
        raise argparse.ArgumentTypeError(error.message) from None
