"""The types of arguments: times and sizes with units, counts, ports and labels, as people write them."""

from __future__ import annotations

import argparse
import re

from wavelet.cli.on_demand import config

_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_TIME_LIMIT = 10 * 365 * 86400.0
_SIZE_LIMIT = 2**63 - 1
_COUNT_LIMIT = 2**31 - 1
_PART = re.compile(r"(\d+(?:\.\d+)?)([smhd]?)")
_TIME = re.compile(rf"(?:{_PART.pattern})+")


def duration(text: str) -> float:
    """Return seconds, of e.g. `90`, `90s`, `1.5m` or `1h30m`.

    Raises:
        argparse.ArgumentTypeError: not of that form, no time at all, or more than ten years.
    """
    if _TIME.fullmatch(text) is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time, e.g. 90s, 10m or 1h30m")
    seconds = sum(float(number) * _SECONDS[unit or "s"] for number, unit in _PART.findall(text))
    if seconds <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no time at all")
    if seconds > _TIME_LIMIT:
        raise argparse.ArgumentTypeError(f"{text!r} is more than ten years")
    return seconds


def count(text: str) -> int:
    """Return how many, at least one.

    Raises:
        argparse.ArgumentTypeError: no such number.
    """
    if not (text.isascii() and text.isdecimal() and 0 < int(text[:20]) <= _COUNT_LIMIT):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of things from 1 on, e.g. 3")
    return int(text)


def byte_count(text: str) -> int:
    """Return bytes, of e.g. `500MB`, `50GiB` or `0`.

    Raises:
        argparse.ArgumentTypeError: not of that form.
    """
    try:
        found = config.parse_size(text, "size")
    except config.ConfigError as error:
        raise argparse.ArgumentTypeError(error.message) from None
    if found > _SIZE_LIMIT:
        raise argparse.ArgumentTypeError(f"{text!r} is more than any disk has")
    return found


def port(text: str) -> int:
    """Return a port that a user's own daemon may have.

    Raises:
        argparse.ArgumentTypeError: no such number.
    """
    if not (text.isascii() and text.isdecimal() and 1024 <= int(text[:6]) < 65536):
        raise argparse.ArgumentTypeError(f"{text!r} is not a port from 1024 to 65535")
    return int(text)


def label(text: str) -> tuple[str, str]:
    """Return name and value of a label, of `NAME=VALUE`; the value may be empty.

    Raises:
        argparse.ArgumentTypeError: not of that form.
    """
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value
